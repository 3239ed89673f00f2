package refresh_test

import (
	"context"
	"errors"
	"testing"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// peeks gives a worker a first look that shows what the test wants, and counts the leader's answers.
func peeks(show func() (refresh.Stored, error)) func(*refresh.Config) {
	return func(cfg *refresh.Config) {
		cfg.Peek = func(context.Context, events.Credential) (refresh.Stored, error) { return show() }
	}
}

func TestAFirstLookIsEnoughForAnAttempt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.enrol("acme/alice")
		k := w.worker("w1", func(cfg *refresh.Config) { cfg.Peek = w.Peek })
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		if n := k.store.gets.count(); n != 0 {
			t.Errorf("the leader was read %d times", n)
		}
		w.wantRecord(c, refresh.StateActive, 2)
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}

// An old record leads to a claim that fails, and the leader decides.
func TestAnOldFirstLookPresentsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.enrol("acme/alice")
		old := w.record(c)
		job := w.scheduled(c)
		wantResult(t, w.do(w.worker("w2"), c), refresh.VerdictAck, refresh.ClassOK)
		res := w.worker("w1", peeks(func() (refresh.Stored, error) { return old, nil })).Do(w.ctx, c, job)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassFresh)
		if res.Decision.Why != refresh.WhyHasNewer {
			t.Errorf("ended because %s", res.Decision.Why)
		}
		w.wantRecord(c, refresh.StateActive, 2)
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}

// Only an attempt may follow from a first look: a job that ends without one is gone.
func TestWithoutAnAttemptTheLeaderDecides(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.enrol("acme/alice")
		w.change(c, paused)
		stale := w.record(c)
		w.change(c, func(r *refresh.Record) { r.Paused = nil })
		for name, show := range map[string]func() (refresh.Stored, error){
			"paused-when-looked-at": func() (refresh.Stored, error) { return stale, nil },
			"not-there-yet":         func() (refresh.Stored, error) { return refresh.Stored{}, refresh.ErrNotFound },
			"nobody-answers":        func() (refresh.Stored, error) { return refresh.Stored{}, errors.New("no answer") },
		} {
			before := w.record(c).Record.Version
			w.change(c, func(r *refresh.Record) { r.RefreshAt = w.Now() })
			wantResult(t, w.do(w.worker(name, peeks(show)), c), refresh.VerdictAck, refresh.ClassOK)
			if after := w.record(c).Record.Version; after != before+1 {
				t.Errorf("%s: version %d after %d", name, after, before)
			}
		}
	})
}
