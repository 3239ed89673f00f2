package refresh_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func paused(r *refresh.Record) { r.Paused = &provider.Pause{By: "operator"} }

func TestClaimThatLosesPresentsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(nil, after(func() { w.change(c, paused) }))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassFresh)
		if res.Decision.Why != refresh.WhyPaused || res.Attempt != "" {
			t.Errorf("ended because %s, attempt %q", res.Decision.Why, res.Attempt)
		}
		w.wantRecord(c, refresh.StateActive, 1)
		k.wantJournal(t, 0, 0)
		w.wantJudge("acme", judge{})
	})
}

func TestClaimThatLosesToAFasterWorkerIsDone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k, other := w.enrol("acme/alice"), w.worker("w1"), w.worker("w2")
		k.store.puts.set(nil, after(func() { wantResult(t, w.do(other, c), refresh.VerdictAck, refresh.ClassOK) }))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassFresh)
		if res.Decision.Why != refresh.WhyHasNewer {
			t.Errorf("ended because %s", res.Decision.Why)
		}
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
		if n := len(w.told(c)); n != 1 {
			t.Errorf("%d events, want one: both tell the same", n)
		}
	})
}

func TestClaimIsTriedAgainOnAHarmlessChange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		policy := func(r *refresh.Record) { r.Policy = &refresh.Policy{Cron: "@daily"} }
		k.store.puts.set(nil, after(func() { w.change(c, policy) }))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		if r := w.wantRecord(c, refresh.StateActive, 2); r.Policy == nil || r.Policy.Cron != "@daily" {
			t.Errorf("policy %+v", r.Policy)
		}
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}

func TestClaimGivesUpARecordThatNeverRests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(after(func() { w.change(c, func(r *refresh.Record) { r.Scopes = append(r.Scopes, "x") }) }))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassFresh)
		if res.Decision.Action != refresh.ActionBusy || k.store.puts.count() != 3 {
			t.Errorf("%s after %d writes, want busy after 3", res.Decision.Action, k.store.puts.count())
		}
		w.wantJudge("acme", judge{})
	})
}

func TestClaimThatIsTooLargePresentsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(nil, says(refresh.ErrTooLarge))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictLeave, refresh.ClassFresh)
		if !errors.Is(res.Err, refresh.ErrTooLarge) {
			t.Errorf("err %v", res.Err)
		}
		w.wantJudge("acme", judge{})
	})
}

// A claim whose write got no answer is presented only if the leader shows it.
func TestClaimOfUnknownFate(t *testing.T) {
	for name, tt := range map[string]struct {
		put, read step // of the claim, and of the look at what became of it
		class     refresh.Class
		requests  int64
	}{
		"it stands":                        {deaf, pass, refresh.ClassOK, 1},
		"it does not stand":                {lost, pass, refresh.ClassTransient, 0},
		"it stands, and nobody can tell":   {deaf, lost, refresh.ClassTransient, 0},
		"it does not, and nobody can tell": {lost, lost, refresh.ClassTransient, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				job := w.scheduled(c)
				k.store.puts.set(nil, tt.put)
				k.store.gets.set(nil, pass, tt.read)
				res := k.Do(w.ctx, c, job)
				wantResult(t, res, refresh.VerdictAck, tt.class)
				if (tt.class != refresh.ClassOK) != errors.Is(res.Err, errNoAnswer) {
					t.Errorf("err %v", res.Err)
				}
				w.wantJudge("acme", judge{requests: tt.requests, rotations: tt.requests})
				r := w.record(c).Record
				if r.Claim != nil || r.Doubt != nil {
					t.Errorf("left claim %+v, doubt %+v", r.Claim, r.Doubt)
				}
				if len(k.log.Pending()) != 0 {
					t.Errorf("%d outcomes wait in the journal", len(k.log.Pending()))
				}
				w.wantHeld(c)
			})
		})
	}
}

// The write got no answer, and the claim that the leader shows is somebody else's.
func TestClaimOfUnknownFateIsNotTakenForAnothers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(nil, func(do func() error) error {
			w.change(c, func(r *refresh.Record) {
				r.Claim = &refresh.Claim{Attempt: "another", Worker: "w2", TTL: provider.Duration(25 * time.Second), At: time.Now().UTC()}
			})
			return lost(do)
		})
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassTransient)
		if r := w.record(c).Record; r.Claim == nil || r.Claim.Attempt != "another" || r.Failure != nil {
			t.Errorf("claim %+v, failure %+v", r.Claim, r.Failure)
		}
		w.wantJudge("acme", judge{})
	})
}

// Nor does the end of such an attempt bring back a record that is gone.
func TestClaimOfUnknownFateCreatesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(nil, func(do func() error) error {
			w.remove(c)
			return lost(do)
		})
		k.store.gets.set(nil, pass, lost)
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassTransient)
		if _, err := w.Get(w.ctx, c); !errors.Is(err, refresh.ErrNotFound) {
			t.Errorf("the record is there again: %v", err)
		}
		k.wantJournal(t, 0, 0)
		w.wantJudge("acme", judge{})
	})
}

// A false claim that outlives its author must cast no doubt: the journal knows that nothing was presented.
func TestFalseClaimIsClearedFromTheJournal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(lost, deaf)
		k.store.gets.set(lost, pass)
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictLeave, refresh.ClassTransient)
		if !errors.Is(res.Err, refresh.ErrUnsettled) || w.record(c).Record.Claim == nil {
			t.Fatalf("err %v, claim %+v", res.Err, w.record(c).Record.Claim)
		}
		k.store.puts.set(nil)
		k.store.gets.set(nil)
		for _, res := range k.recover(w.ctx) {
			wantResult(t, res, refresh.VerdictAck, refresh.ClassTransient)
		}
		r := w.wantRecord(c, refresh.StateRetrying, 1)
		if r.Doubt != nil || r.Failure == nil || r.Failure.Class != refresh.ClassTransient {
			t.Errorf("doubt %+v, failure %+v", r.Doubt, r.Failure)
		}
		time.Sleep(time.Until(r.RefreshAt))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}

func TestCancelledBeforeTheClaim(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		ctx, cancel := context.WithCancel(w.ctx)
		k.store.gets.set(nil, func(do func() error) error {
			defer cancel()
			return do()
		})
		res := k.Do(ctx, c, w.scheduled(c))
		wantResult(t, res, refresh.VerdictNak, refresh.ClassFresh)
		if !errors.Is(res.Err, context.Canceled) || k.store.puts.count() != 0 {
			t.Errorf("err %v, %d writes", res.Err, k.store.puts.count())
		}
		w.wantJudge("acme", judge{})
	})
}

func TestCancelledWhileTheClaimIsWritten(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		ctx, cancel := context.WithCancel(w.ctx)
		k.store.puts.set(nil, func(do func() error) error {
			err := deaf(do)
			cancel()
			return err
		})
		wantResult(t, k.Do(ctx, c, w.scheduled(c)), refresh.VerdictAck, refresh.ClassTransient)
		if r := w.wantRecord(c, refresh.StateRetrying, 1); r.Doubt != nil {
			t.Errorf("doubt %+v", r.Doubt)
		}
		w.wantJudge("acme", judge{})
	})
}

// The claim takes so long to write that the answer might come after its end: nothing is sent.
func TestClaimThatIsHalfOverPresentsNothing(t *testing.T) {
	for name, delay := range map[string]time.Duration{"too late": 5 * time.Second, "just in time": 5*time.Second - time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				k.store.puts.set(nil, func(do func() error) error {
					defer time.Sleep(delay) // the answer is under way
					return do()
				})
				res := w.do(k, c)
				if name == "just in time" {
					wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
					w.wantJudge("acme", judge{requests: 1, rotations: 1})
					return
				}
				wantResult(t, res, refresh.VerdictAck, refresh.ClassTransient)
				if r := w.wantRecord(c, refresh.StateRetrying, 1); r.Doubt != nil {
					t.Errorf("doubt %+v about a token that was never presented", r.Doubt)
				}
				w.wantJudge("acme", judge{})
			})
		})
	}
}

func TestClaimSaysWhoAndForHowLong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		began := time.Now().UTC()
		var seen *refresh.Claim
		k.store.puts.set(nil, pass, after(func() { seen = w.record(c).Record.Claim }))
		res := k.Do(w.ctx, c, refresh.Job{Reason: events.ReasonScheduled, NewerThan: 1})
		if seen == nil || seen.Attempt != res.Attempt || seen.Worker != "w1" || seen.TTL.Std() != 25*time.Second || !seen.At.Equal(began) {
			t.Errorf("claim %+v, attempt %s", seen, res.Attempt)
		}
	})
}
