package refresh_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// recalling lets a worker find what its journal holds, before it has been through it.
func recalling(k **worker) func(*refresh.Config) {
	return func(cfg *refresh.Config) {
		cfg.Recall = func(_ context.Context, attempt string) (refresh.Entry, bool, error) {
			for _, e := range (*k).log.Pending() {
				if e.ID == attempt {
					return refresh.Entry{ID: e.ID, Key: e.Key, Data: e.Data}, true, nil
				}
			}
			return refresh.Entry{}, false, nil
		}
	}
}

// The reply of a dead worker is at hand and not committed yet when a job comes: at its claim's end, and when nothing
// seems to be left to lose.
func TestAReplyAtHandIsCommittedAndNothingPresented(t *testing.T) {
	for name, wait := range map[string]time.Duration{"dead claim": 45 * time.Second, "last try": time.Hour} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, dead := w.enrol("acme/alice"), w.worker("w1")
				job := w.scheduled(c)
				dead.store.puts.set(die, pass)
				w.dies(dead, c, job)
				if name == "last try" { // somebody else has written the doubt down
					time.Sleep(45 * time.Second)
					wantResult(t, w.worker("w2").Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassUnknown)
					w.wantRecord(c, refresh.StateUncertain, 1)
				}
				time.Sleep(wait)
				var next *worker
				next = w.worker("w1", recalling(&next))
				wantResult(t, next.Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassOK)
				w.wantRecord(c, refresh.StateActive, 2)
				w.wantJudge("acme", judge{requests: 1, rotations: 1})
				w.wantHeld(c)
			})
		})
	}
}

func TestNothingIsPresentedWhileTheOutcomeInDoubtCannotBeAskedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, dead := w.enrol("acme/alice"), w.worker("w1")
		job := w.scheduled(c)
		dead.store.puts.set(die, pass)
		w.dies(dead, c, job)
		time.Sleep(45 * time.Second)
		away := func(cfg *refresh.Config) {
			cfg.Recall = func(context.Context, string) (refresh.Entry, bool, error) {
				return refresh.Entry{}, false, errors.New("the exchanger is away")
			}
		}
		other := w.worker("w2", away)
		wantResult(t, other.Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassUnknown) // the doubt is written down
		w.wantRecord(c, refresh.StateUncertain, 1)
		time.Sleep(time.Hour)
		res := other.Do(w.ctx, c, job)
		if res.Verdict != refresh.VerdictNak || res.Class != refresh.ClassLocal || res.Err == nil {
			t.Errorf("a last try ended with %+v", res)
		}
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}
