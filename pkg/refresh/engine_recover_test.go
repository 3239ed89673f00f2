package refresh_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// A worker is killed between the provider's answer and the end of its job; the next one on this machine finds its journal.
func TestRestartedWorkerCommitsWhatItsJournalHolds(t *testing.T) {
	for name, tt := range map[string]struct {
		commit, tell step
		reason       events.Reason
	}{
		"killed before the commit":       {die, nil, events.ReasonRecovered},
		"killed after the commit":        {deadOnceDone, nil, events.ReasonScheduled},
		"killed before it told":          {nil, die, events.ReasonScheduled},
		"killed after it told":           {nil, deadOnceDone, events.ReasonScheduled},
		"killed while the commit failed": {lost, nil, events.ReasonRecovered},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				k.store.puts.set(die, pass, tt.commit)
				k.teller.tells.set(tt.tell)
				w.dies(k, c, w.scheduled(c))

				next := w.worker("w1")
				for _, res := range next.recover(w.ctx) {
					if res.Verdict != refresh.VerdictAck || res.Err != nil || res.Credential != c {
						t.Errorf("recovered: %+v", res)
					}
				}
				w.wantRecord(c, refresh.StateActive, 2)
				next.wantJournal(t, 0, 1)
				w.wantJudge("acme", judge{requests: 1, rotations: 1})
				w.wantHeld(c)

				w.redelivered(next, c)
				told := w.told(c)
				if len(told) != 1 || told[0].Type != events.TokenUpdated || told[0].Data.Reason != tt.reason {
					t.Errorf("told %+v", told)
				}
				w.wantJudge("acme", judge{requests: 1, rotations: 1})
			})
		})
	}
}

// redelivered gives the job of a dead worker to another one.
func (w *world) redelivered(k *worker, c events.Credential) {
	w.t.Helper()
	wantResult(w.t, k.Do(w.ctx, c, refresh.Job{Reason: events.ReasonScheduled, NewerThan: 1}), refresh.VerdictAck, refresh.ClassFresh)
}

func TestRecoveringTwiceChangesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(die, pass)
		w.dies(k, c, w.scheduled(c))
		next := w.worker("w1")
		entry := next.log.Pending()[0]
		lostMark := refresh.Entry{ID: entry.ID, Key: entry.Key, Data: entry.Data} // as if its commit were not known
		wantResult(t, next.Recover(w.ctx, lostMark), refresh.VerdictAck, refresh.ClassOK)
		then := w.record(c)
		for range 2 {
			wantResult(t, next.recover(w.ctx)[0], refresh.VerdictAck, refresh.ClassFresh)
			wantResult(t, next.Recover(w.ctx, lostMark), refresh.VerdictAck, refresh.ClassFresh) // counted once
		}
		if now := w.record(c); now.Revision != then.Revision || len(w.told(c)) != 1 {
			t.Errorf("revision %d, then %d; %d events", then.Revision, now.Revision, len(w.told(c)))
		}
		if n := len(next.results); n != 3 {
			t.Errorf("observed %d recoveries, want the 3 that looked at the record", n)
		}
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}

// A server that lost power forgot a commit that it had acknowledged: the record is what it was before.
func TestForgottenCommitIsMadeAgain(t *testing.T) {
	for name, age := range map[string]step{"with the claim": pass, "with nothing of the attempt": nil} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				before := w.record(c).Record
				if age != nil {
					k.store.puts.set(nil, pass, after(func() { before = w.record(c).Record }))
				}
				wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
				entry := slices.Collect(k.log.Recent())[0]
				w.change(c, func(r *refresh.Record) { *r = before })
				wantResult(t, k.Recover(w.ctx, refresh.Entry{
					ID: entry.ID, Key: entry.Key, Data: entry.Data, Revision: entry.Revision + 100, // what is there now is older
				}), refresh.VerdictAck, refresh.ClassOK)
				w.wantRecord(c, refresh.StateActive, 2)
				w.wantHeld(c)
				w.use(c, 200)
				w.wantJudge("acme", judge{requests: 1, rotations: 1})
			})
		})
	}
}

// The machine comes back after somebody wrote down that nobody knows: its journal does, and ends the doubt.
func TestJournalThatComesBackEndsTheDoubt(t *testing.T) {
	for name, tt := range map[string]struct {
		faults  []authserver.Fault
		class   refresh.Class
		state   refresh.State
		version uint64
	}{
		"with a reply":                    {nil, refresh.ClassOK, refresh.StateActive, 2},
		"without knowing more than that":  {[]authserver.Fault{{Kind: authserver.FaultDrop}}, refresh.ClassUnknown, refresh.StateUncertain, 1},
		"with a no that comes after that": {[]authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_grant"}}, refresh.ClassRejected, refresh.StateRetrying, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k, other := w.enrol("acme/alice"), w.worker("w1"), w.worker("w2")
				w.must(w.servers["acme"].SetFaults(tt.faults))
				k.store.puts.set(die, pass)
				w.dies(k, c, w.scheduled(c))
				time.Sleep(45 * time.Second)
				wantResult(t, w.do(other, c), refresh.VerdictAck, refresh.ClassUnknown)
				w.wantRecord(c, refresh.StateUncertain, 1)

				back := w.worker("w1")
				wantResult(t, back.recover(w.ctx)[0], refresh.VerdictAck, tt.class)
				if r := w.wantRecord(c, tt.state, tt.version); (r.Doubt == nil) != (tt.class != refresh.ClassUnknown) {
					t.Errorf("doubt %+v", r.Doubt)
				}
				if n := len(back.log.Pending()); n != 0 {
					t.Errorf("%d outcomes wait", n)
				}
				if l := w.servers["acme"].Ledger(); l.Requests["token"] != 1 {
					t.Errorf("%d requests", l.Requests["token"])
				}
				w.wantHeld(c)
			})
		})
	}
}

// A failure is worth no more than a reply: it too is committed by the next one, and it casts no doubt where nothing was sent.
func TestRecoveredFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		fault authserver.FaultKind
		code  string
		class refresh.Class
		state refresh.State
		doubt bool
	}{
		"of unknown outcome": {authserver.FaultDrop, "", refresh.ClassUnknown, refresh.StateUncertain, true},
		"not consumed":       {authserver.FaultError, "temporarily_unavailable", refresh.ClassTransient, refresh.StateRetrying, false},
		"rejected":           {authserver.FaultError, "invalid_grant", refresh.ClassRejected, refresh.StateRetrying, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: tt.fault, Code: tt.code}}))
				k.store.puts.set(die, pass)
				w.dies(k, c, w.scheduled(c))
				next := w.worker("w1")
				wantResult(t, next.recover(w.ctx)[0], refresh.VerdictAck, tt.class)
				r := w.wantRecord(c, tt.state, 1)
				if (r.Doubt != nil) != tt.doubt || r.Failure == nil || r.Failure.Class != tt.class || r.Failure.Count != 1 {
					t.Errorf("doubt %+v, failure %+v", r.Doubt, r.Failure)
				}
				next.wantJournal(t, 0, 1)
				if told := w.told(c); len(told) != 1 || told[0].Data.Reason != events.ReasonRecovered {
					t.Errorf("told %+v", told)
				}
				w.wantHeld(c)
			})
		})
	}
}

func TestRecoverLeavesWhatItCannotSettle(t *testing.T) {
	for name, tt := range map[string]struct {
		config func(*refresh.Config)
		entry  func(*refresh.Entry)
		err    error
	}{
		"a key that this worker lacks":   {config: func(c *refresh.Config) { c.Keys.Grant = c.Keys.Access }},
		"an entry of another credential": {entry: func(e *refresh.Entry) { e.Key = "acme.bob" }},
		"an entry of another attempt":    {entry: func(e *refresh.Entry) { e.ID = "other" }},
		"a provider that is not known": {config: func(c *refresh.Config) {
			c.Provider = func(string) (*provider.Definition, bool) { return nil, false }
		}},
		"a store that does not answer": {config: func(c *refresh.Config) { c.Store.(*faultyStore).gets.set(lost) }, err: errNoAnswer},
		"a record that is none":        {config: func(c *refresh.Config) { c.Store.(*faultyStore).gets.set(says(refresh.ErrMalformed)) }, err: refresh.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				k.store.puts.set(die, pass)
				w.dies(k, c, w.scheduled(c))
				then := w.record(c)
				next := w.worker("w1", func(cfg *refresh.Config) {
					if tt.config != nil {
						tt.config(cfg)
					}
				})
				p := next.log.Pending()[0]
				entry := refresh.Entry{ID: p.ID, Key: p.Key, Data: p.Data}
				if tt.entry != nil {
					tt.entry(&entry)
				}
				res := next.Recover(w.ctx, entry)
				wantResult(t, res, refresh.VerdictLeave, refresh.ClassLocal)
				if res.Err == nil || tt.err != nil && !errors.Is(res.Err, tt.err) {
					t.Errorf("err %v", res.Err)
				}
				if now := w.record(c); now.Revision != then.Revision || len(next.results) != 0 {
					t.Errorf("revision %d, then %d; observed %+v", then.Revision, now.Revision, next.results)
				}
				next.wantJournal(t, 1, 0)
			})
		})
	}
}

// While a job still tries to commit, the journal's own round keeps away from its entry.
func TestRecoverKeepsAwayFromAJobAtWork(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		var met []refresh.Result
		k.store.puts.set(nil, pass, after(func() { met = k.recover(w.ctx) }))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		if len(met) != 1 {
			t.Fatalf("met %d entries", len(met))
		}
		wantResult(t, met[0], refresh.VerdictLeave, refresh.ClassFresh)
		w.wantRecord(c, refresh.StateActive, 2)
	})
}

// What the journal brings back obeys the commit table like everything else.
func TestRecoveredReplyComesTooLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		gone, moved, k := w.enrol("acme/gone"), w.enrol("acme/moved"), w.worker("w1")
		k.store.puts.set(nil, pass, says(refresh.ErrConflict), die)
		w.dies(k, gone, w.scheduled(gone))
		w.remove(gone)
		k = w.worker("w1")
		k.store.puts.set(nil, pass, die)
		w.dies(k, moved, w.scheduled(moved))
		w.rival(moved)

		next := w.worker("w1")
		res := next.recover(w.ctx)
		if len(res) != 2 || !errors.Is(res[0].Err, refresh.ErrNoRecord) || !errors.Is(res[1].Err, refresh.ErrLateReply) {
			t.Errorf("recovered: %+v", res)
		}
		next.wantJournal(t, 0, 0)
		if n := next.log.Stats().Aside; n != 2 {
			t.Errorf("%d set aside, want 2", n)
		}
		if _, err := w.Get(w.ctx, gone); !errors.Is(err, refresh.ErrNotFound) {
			t.Errorf("the credential that was removed: %v", err)
		}
		w.wantJudge("acme", judge{requests: 2, rotations: 2})
		w.wantHeld(moved)
	})
}

// The clock of the machine is wrong; lifetimes count in NATS time all the same, after a restart too.
func TestRecoveredTimesAreNATSTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		now := func() time.Time { return time.Now().Add(10 * time.Minute) }
		config := func(cfg *refresh.Config) { cfg.Now = now }
		c, k := w.enrol("acme/alice"), w.worker("w1", config)
		began := now()
		k.store.puts.set(die, pass)
		w.dies(k, c, w.scheduled(c))
		time.Sleep(time.Minute)
		wantResult(t, w.worker("w1", config).recover(w.ctx)[0], refresh.VerdictAck, refresh.ClassOK)
		if r := w.record(c).Record; !r.IssuedAt.Equal(began) || !r.ExpiresAt.Equal(began.Add(time.Hour)) {
			t.Errorf("issued %v, expires %v; began %v", r.IssuedAt, r.ExpiresAt, began)
		}
	})
}
