package refresh_test

import (
	"errors"
	"testing"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// TestJournalsBringARestoredRecordUpToDate: the store was lost and a backup restored. Of the workers' journals one has the answer to the
// newest attempt, another an older one: the newest is committed and ends the doubt, the older is not, whoever comes first.
func TestJournalsBringARestoredRecordUpToDate(t *testing.T) {
	for name, order := range map[string][]string{"the newest first": {"w2", "w1"}, "the oldest first": {"w1", "w2"}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := w.enrol("acme/alice")
				kept, takenAt := w.record(c), w.Now()
				for _, name := range []string{"w1", "w2"} {
					w.untilDue(c)
					k := w.worker(name)
					wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
					w.must(k.log.Close())
				}
				w.remove(c)
				told := w.told(c)
				last := told[len(told)-1].Data
				r, err := w.keys.Restored(kept, w.providers["acme"], refresh.Restoration{
					TakenAt: takenAt, Now: w.Now(), ToldGeneration: last.Generation, ToldVersion: last.Version,
				})
				w.must(err)
				_, err = w.Put(w.ctx, refresh.Write{Record: r})
				w.must(err)

				for _, name := range order {
					for _, res := range w.worker(name).recover(w.ctx) {
						if late := errors.Is(res.Err, refresh.ErrLateReply); late != (name == "w1") || res.Err != nil && !late {
							t.Errorf("%s recovered %+v", name, res)
						}
					}
				}
				got := w.wantRecord(c, refresh.StateActive, 3)
				if got.Doubt != nil || got.Failure != nil || got.Generation != 2 {
					t.Errorf("generation %d, doubt %+v, failure %+v", got.Generation, got.Doubt, got.Failure)
				}
				w.wantHeld(c)
				w.wantJudge("acme", judge{requests: 2, rotations: 2})
			})
		})
	}
}
