package refresh_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// classes are authorization servers of each rotation class.
func classes() map[string]authserver.Config {
	return map[string]authserver.Config{
		"none":       {Rotation: authserver.RotationNone},
		"overlap":    {Rotation: authserver.RotationOverlap},
		"grace":      {Rotation: authserver.RotationGrace, Grace: 2 * time.Minute},
		"until-used": {Rotation: authserver.RotationUntilUsed},
		"strict":     {Rotation: authserver.RotationStrict},
	}
}

// A worker dies between the provider's answer and its commit, and its machine with the journal is gone.
func TestDeadClaimWithoutItsJournal(t *testing.T) {
	for name, cfg := range classes() {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.apply(name, cfg, nil)
				c, k, other := w.enrol(name+"/alice"), w.worker("w1"), w.worker("w2")
				job := w.scheduled(c)
				k.store.puts.set(die, pass)
				w.dies(k, c, job)
				claim := *w.record(c).Record.Claim

				wantResult(t, other.Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassFresh)
				w.wantBusy(other, c)
				time.Sleep(45 * time.Second) // the claim's TTL and the quarantine
				if name == "strict" {
					w.wantResolved(t, other, c, claim)
					return
				}
				var claimed refresh.Record
				other.store.puts.set(nil, pass, after(func() { claimed = w.record(c).Record }))
				res := other.Do(w.ctx, c, job)
				wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
				if res.Decision.Why != refresh.WhyRetryAllowed {
					t.Errorf("because %s", res.Decision.Why)
				}
				if d := claimed.Doubt; d == nil || *d != (refresh.Doubt{Attempt: claim.Attempt, Worker: "w1", FirstSentAt: claim.At}) {
					t.Errorf("the second try's claim comes with the doubt %+v about %+v", d, claim)
				}
				if r := w.wantRecord(c, refresh.StateActive, 2); r.Doubt != nil {
					t.Errorf("doubt %+v", r.Doubt)
				}
				l := w.servers[name].Ledger()
				if l.Requests["token"] != 2 || l.Replayed+l.LastTries+l.Concurrent+l.Revoked != 0 {
					t.Errorf("ledger %+v", l)
				}
				w.wantHeld(c)
				w.use(c, http.StatusOK)
			})
		})
	}
}

// wantBusy checks that a live claim, or a dead one in quarantine, is respected.
func (w *world) wantBusy(k *worker, c events.Credential) {
	w.t.Helper()
	if res := w.do(k, c); res.Decision.Action != refresh.ActionBusy {
		w.t.Errorf("%s because %s, want busy", res.Decision.Action, res.Decision.Why)
	}
}

// wantResolved checks that the doubt about a dead claim is written down and told, and nothing is presented.
func (w *world) wantResolved(t *testing.T, k *worker, c events.Credential, claim refresh.Claim) {
	t.Helper()
	res := w.do(k, c)
	wantResult(t, res, refresh.VerdictAck, refresh.ClassUnknown)
	r := w.wantRecord(c, refresh.StateUncertain, 1)
	if r.Doubt == nil || *r.Doubt != (refresh.Doubt{Attempt: claim.Attempt, Worker: "w1", FirstSentAt: claim.At}) {
		t.Errorf("doubt %+v about claim %+v", r.Doubt, claim)
	}
	if r.Failure == nil || r.Failure.Class != refresh.ClassUnknown || r.Failure.Code != "claim_died" {
		t.Errorf("failure %+v", r.Failure)
	}
	if left := r.ExpiresAt.Sub(r.RefreshAt); left != time.Minute {
		t.Errorf("the last try is due %v before the end", left)
	}
	told := w.told(c)
	if e := told[len(told)-1]; e.Type != events.TokenRefreshFailed || e.Data.Code != "claim_died" || e.Data.Attempt != claim.Attempt {
		t.Errorf("told %+v", e)
	}
	w.wantJudge(c.Provider, judge{requests: 1, rotations: 1})
}

func TestResolvingThatFailsIsLeftToRedelivery(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k, other := w.enrol("acme/alice"), w.worker("w1"), w.worker("w2")
		job := w.scheduled(c)
		k.store.puts.set(die, pass)
		w.dies(k, c, job)
		claim := *w.record(c).Record.Claim
		time.Sleep(45 * time.Second)
		other.store.puts.set(nil, lost)
		wantResult(t, other.Do(w.ctx, c, job), refresh.VerdictLeave, refresh.ClassUnknown)
		other.store.puts.set(nil, says(refresh.ErrConflict))
		other.teller.tells.set(lost)
		wantResult(t, other.Do(w.ctx, c, job), refresh.VerdictLeave, refresh.ClassUnknown)
		if len(w.told(c)) != 0 {
			t.Errorf("told %+v", w.told(c))
		}
		other.teller.tells.set(nil)
		wantResult(t, other.Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassFresh)
		if told := w.told(c); len(told) != 1 || told[0].Data.Attempt != claim.Attempt {
			t.Errorf("told %+v", told)
		}
	})
}

// An answer is lost after the rotation: what each class allows then.
func TestLostAnswer(t *testing.T) {
	for name, cfg := range classes() {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.apply(name, cfg, nil)
				c, k := w.enrol(name+"/alice"), w.worker("w1")
				w.must(w.servers[name].SetFaults([]authserver.Fault{{Kind: authserver.FaultDrop, After: true, Count: 1}}))
				wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
				if name == "strict" {
					w.wantRecord(c, refresh.StateUncertain, 1)
					return
				}
				r := w.wantRecord(c, refresh.StateRetrying, 1)
				if r.Doubt == nil || r.Doubt.Attempt != r.Last.Attempt {
					t.Errorf("doubt %+v, last %+v", r.Doubt, r.Last)
				}
				time.Sleep(time.Until(r.RefreshAt))
				wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
				w.wantRecord(c, refresh.StateActive, 2)
				if l := w.servers[name].Ledger(); l.Replayed+l.LastTries+l.Revoked != 0 {
					t.Errorf("ledger %+v", l)
				}
				w.wantHeld(c)
			})
		})
	}
}

// At a strict provider a doubt is left alone until nothing is left to lose. A reader whose token was refused has nothing
// to lose; the provider's word then decides.
func TestDemandAfterARefusalIsALastTry(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.apply("harsh", authserver.Config{RotationKillsAccess: true}, nil)
		c, k := w.enrol("harsh/alice"), w.worker("w1")
		w.must(w.servers["harsh"].SetFaults([]authserver.Fault{{Kind: authserver.FaultDrop, After: true, Count: 1}}))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
		w.wantRecord(c, refresh.StateUncertain, 1)
		time.Sleep(time.Minute)

		demand := refresh.Job{Reason: events.ReasonDemand, NewerThan: 1}
		if res := k.Do(w.ctx, c, demand); res.Decision.Why != refresh.WhyDoubtHolds {
			t.Errorf("a demand without a refusal: %s because %s", res.Decision.Action, res.Decision.Why)
		}
		w.wantJudge("harsh", judge{requests: 1, rotations: 1})

		w.use(c, http.StatusUnauthorized) // the reader
		demand.Refused = true
		res := k.Do(w.ctx, c, demand)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassRejected)
		if res.Decision.Why != refresh.WhyLastTry {
			t.Errorf("because %s", res.Decision.Why)
		}
		w.wantJudge("harsh", judge{requests: 2, rotations: 1, lastTries: 1})
		w.wantRecord(c, refresh.StateRetrying, 1)
		if res := k.Do(w.ctx, c, demand); res.Decision.Why != refresh.WhyBackoff {
			t.Errorf("a demand right after a last try: %s because %s", res.Decision.Action, res.Decision.Why)
		}
		time.Sleep(2 * time.Minute)
		wantResult(t, k.Do(w.ctx, c, demand), refresh.VerdictAck, refresh.ClassRejected)
		w.wantRecord(c, refresh.StateReauthRequired, 1)
		w.wantJudge("harsh", judge{requests: 3, rotations: 1, lastTries: 2})
	})
}

// The request never reached the provider, only nobody could know: the last try before the end finds that all is well.
func TestLastTryMaySucceed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: authserver.FaultDrop, Count: 1}}))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
		r := w.wantRecord(c, refresh.StateUncertain, 1)
		time.Sleep(time.Until(r.RefreshAt))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if res.Decision.Why != refresh.WhyLastTry || res.Margin != time.Minute {
			t.Errorf("because %s, %v before the end", res.Decision.Why, res.Margin)
		}
		w.wantRecord(c, refresh.StateActive, 2)
		w.wantJudge("acme", judge{requests: 2, rotations: 1})
		w.wantHeld(c)
	})
}

// NATS was away until the access token had ended. Everybody comes back at once, and the claim of a worker that has its answer
// is long dead: another one must not take what its author is about to commit for lost.
func TestLastTryWaitsForTheAuthorOfADeadClaim(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k, other := w.enrol("acme/alice"), w.worker("w1"), w.worker("w2")
		job := w.scheduled(c)
		k.store.puts.set(die, pass)
		w.dies(k, c, job)
		time.Sleep(2 * time.Hour)
		wantResult(t, other.Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassUnknown)
		w.wantRecord(c, refresh.StateUncertain, 1)
		refused := refresh.Job{Reason: events.ReasonDemand, NewerThan: 1, Refused: true}
		for range 13 {
			time.Sleep(time.Second)
			for _, j := range []refresh.Job{job, refused} {
				if res := other.Do(w.ctx, c, j); res.Decision.Why != refresh.WhyBackoff {
					t.Fatalf("%s because %s", res.Decision.Action, res.Decision.Why)
				}
			}
		}
		for _, res := range w.worker("w1").recover(w.ctx) {
			wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		}
		w.wantRecord(c, refresh.StateActive, 2)
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
		w.wantHeld(c)
	})
}
