package refresh_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Until somebody has told what was committed, the job comes back; it tells the same, and attempts nothing.
func TestTellingThatFailsIsLeftToRedelivery(t *testing.T) {
	for name, tt := range map[string]struct {
		faults []authserver.Fault
		class  refresh.Class
		event  events.Type
		judge  judge
	}{
		"success": {nil, refresh.ClassOK, events.TokenUpdated, judge{requests: 1, rotations: 1}},
		"failure": {
			[]authserver.Fault{{Kind: authserver.FaultError, Code: "temporarily_unavailable"}},
			refresh.ClassTransient, events.TokenRefreshFailed, judge{requests: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := w.enrol("acme/alice")
				k := w.worker("w1", func(cfg *refresh.Config) { cfg.Patience = time.Second }) // the backoff outlasts it
				w.must(w.servers["acme"].SetFaults(tt.faults))
				job := w.scheduled(c)
				k.teller.tells.set(lost)
				res := k.Do(w.ctx, c, job)
				wantResult(t, res, refresh.VerdictLeave, tt.class)
				if !errors.Is(res.Err, errNoAnswer) || len(w.told(c)) != 0 {
					t.Errorf("err %v, told %d", res.Err, len(w.told(c)))
				}
				then := w.record(c)
				k.wantJournal(t, 1, 0) // whoever finds it tells as well

				k.teller.tells.set(nil)
				wantResult(t, w.worker("w2").Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassFresh)
				told := w.told(c)
				if len(told) != 1 || told[0].Type != tt.event || told[0].Data.Revision != then.Revision || told[0].Data.Reason != job.Reason {
					t.Fatalf("told %+v", told)
				}
				if ids := slices.Compact(slices.Clone(k.teller.ids)); len(k.teller.ids) < 3 || len(ids) != 1 || ids[0] != told[0].ID {
					t.Errorf("tried %d times with the ids %q, told at last %s", len(k.teller.ids), ids, told[0].ID)
				}
				if now := w.record(c); now.Revision != then.Revision {
					t.Errorf("revision %d, then %d", then.Revision, now.Revision)
				}
				w.wantJudge("acme", tt.judge)
			})
		})
	}
}

// Nobody redelivers the job of an outcome that comes from the journal: its entry waits until somebody has told.
func TestRecoveredOutcomeWaitsUntilItIsTold(t *testing.T) {
	for name, tell := range map[string]step{"nobody hears": lost, "killed before it told": die} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				k.store.puts.set(die, pass)
				w.dies(k, c, w.scheduled(c))
				k = w.worker("w1")
				k.teller.tells.set(tell)
				done := make(chan struct{})
				go func() {
					defer close(done)
					wantResult(t, k.recover(w.ctx)[0], refresh.VerdictLeave, refresh.ClassOK)
				}()
				<-done
				w.wantRecord(c, refresh.StateActive, 2)
				k.wantJournal(t, 1, 0)

				w.must(k.log.Close())
				k = w.worker("w1")
				wantResult(t, k.recover(w.ctx)[0], refresh.VerdictAck, refresh.ClassFresh)
				k.wantJournal(t, 0, 1)
				if told := w.told(c); len(told) != 1 || told[0].Data.Version != 2 || told[0].Data.Reason != events.ReasonRecovered {
					t.Errorf("told %+v", told)
				}
			})
		})
	}
}

func TestTellingIsRepeatedUnderTheSameID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.teller.tells.set(nil, lost, deaf, deaf)
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		if told := w.told(c); len(told) != 1 || len(k.teller.ids) != 4 {
			t.Errorf("told %d times, stored %d", len(k.teller.ids), len(told))
		}
	})
}

func TestPassingTellsAgainOrIsLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		job := w.scheduled(c)
		job.NewerThan = 0
		k.teller.tells.set(lost)
		res := k.Do(w.ctx, c, job)
		wantResult(t, res, refresh.VerdictLeave, refresh.ClassFresh)
		k.teller.tells.set(nil)
		wantResult(t, k.Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassFresh)
		if told := w.told(c); len(told) != 1 || told[0].Type != events.TokenUpdated || told[0].Data.Version != 1 {
			t.Errorf("told %+v", told)
		}
		w.wantJudge("acme", judge{})
	})
}

// What is told of a record follows from the record alone, so that everybody gives it the same id.
func TestCurrentEvent(t *testing.T) {
	t.Parallel()
	failed := func(r *refresh.Record) {
		r.State, r.RefreshAt = refresh.StateRetrying, noon.Add(time.Minute)
		r.Failure = &refresh.Failure{Count: 1, Class: refresh.ClassUnknown, Code: "server_error"}
		r.Last = &refresh.Last{Attempt: "a1", Outcome: refresh.ClassUnknown, Reason: events.ReasonCron}
	}
	for _, tt := range []struct {
		name string
		edit func(*refresh.Record)
		want events.Type
		id   string
	}{
		{"healthy", func(*refresh.Record) {}, events.TokenUpdated, "token.updated:g:1:3"},
		{"healthy after an attempt", func(r *refresh.Record) { r.Last = &refresh.Last{Attempt: "a1"} }, events.TokenUpdated, "token.updated:g:1:3"},
		{"failed", failed, events.TokenRefreshFailed, "token.refresh_failed:g:1:3:a1"},
		{"needs a person", func(r *refresh.Record) { failed(r); r.State = refresh.StateReauthRequired }, events.TokenReauthRequired, "token.reauth_required:g:1:3:a1"},
		{"revoked", func(r *refresh.Record) { failed(r); r.State = refresh.StateRevoked }, events.TokenRevoked, "token.revoked:g:1:3"},
		{"deleted", func(r *refresh.Record) { failed(r); r.State = refresh.StateDeleted }, events.TokenDeleted, "token.deleted:g:1:3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := healthy()
			tt.edit(&s.Record)
			e := refresh.CurrentEvent(&s, "freshet/worker/w1", noon)
			if e.Type != tt.want || e.ID != tt.id || e.Data.Revision != s.Revision || e.Data.Credential() != s.Record.Credential() {
				t.Errorf("event %+v", e)
			}
			if again := refresh.CurrentEvent(&s, "freshet/worker/w2", noon.Add(time.Hour)); again.ID != e.ID {
				t.Errorf("another teller gives it the id %s", again.ID)
			}
			if withdrawn := s.Record.State.Withdrawn(); (e.Data.Class != "") != (s.Record.Failure != nil && !withdrawn) {
				t.Errorf("class %q", e.Data.Class)
			}
		})
	}
}
