package refresh_test

import (
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// A host comes back with a failure in its journal that somebody else has long heard of. The old word is not a second one, and
// takes nothing back.
func TestALateFailureSaysNothingNew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.apply("mild", authserver.Config{Rotation: authserver.RotationOverlap}, nil)
		c := w.enrol("mild/alice")
		w.must(w.servers["mild"].SetFaults([]authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_grant"}}))
		dying := w.worker("w1")
		dying.store.puts.set(nil, pass, die) // the claim is written, the answer is in the journal
		w.dies(dying, c, w.scheduled(c))
		time.Sleep(w.providers["mild"].Timing().AckWait)

		w2 := w.worker("w2")
		wantResult(t, w.do(w2, c), refresh.VerdictAck, refresh.ClassRejected)
		first := w.wantRecord(c, refresh.StateRetrying, 1)
		time.Sleep(90 * time.Second) // long enough for a second word
		back := w.worker("w1")
		back.recover(w.ctx)
		if r := w.wantRecord(c, refresh.StateRetrying, 1); r.Last.Attempt != first.Last.Attempt || r.Failure.Count != 1 {
			t.Errorf("the old word was taken for a new one: last %+v, failure %+v", r.Last, r.Failure)
		}
		back.wantJournal(t, 0, 0)

		time.Sleep(15 * time.Minute)
		wantResult(t, w.do(w2, c), refresh.VerdictAck, refresh.ClassRejected)
		w.wantRecord(c, refresh.StateReauthRequired, 1)
	})
}
