package refresh_test

import (
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestJobIsClaimedExchangedCommittedAndTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.apply("slow", authserver.Config{Latency: 2 * time.Second}, nil)
		c, k := w.enrol("slow/alice"), w.worker("w1")
		before := w.record(c)
		began := time.Now().UTC()
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if res.Before != 1 || res.After != 2 || res.Attempt == "" || res.Worker != "w1" || res.Credential != c || res.Err != nil {
			t.Errorf("result %+v", res)
		}
		if res.Exchange != 2*time.Second || res.Total < res.Exchange || res.Margin != time.Hour-2*time.Second {
			t.Errorf("the provider took %v of %v, committed %v before the end", res.Exchange, res.Total, res.Margin)
		}
		if len(k.results) != 1 || k.results[0].Attempt != res.Attempt {
			t.Errorf("observed %+v", k.results)
		}
		s := w.record(c)
		r := w.wantRecord(c, refresh.StateActive, 2)
		if s.Revision != before.Revision+2 || !r.IssuedAt.Equal(began) || !r.ExpiresAt.Equal(began.Add(time.Hour)) {
			t.Errorf("revision %d after %d, issued %v, expires %v", s.Revision, before.Revision, r.IssuedAt, r.ExpiresAt)
		}
		if r.Last == nil || *r.Last != (refresh.Last{Attempt: res.Attempt, Outcome: refresh.ClassOK, Reason: events.ReasonScheduled}) {
			t.Errorf("last %+v", r.Last)
		}
		told := w.told(c)
		if len(told) != 1 || told[0].Type != events.TokenUpdated || told[0].Data.Version != 2 || told[0].Data.Revision != s.Revision ||
			told[0].Data.Reason != events.ReasonScheduled || told[0].Source != "freshet/worker/w1" {
			t.Errorf("told %+v", told)
		}
		k.wantJournal(t, 0, 1)
		if e := slices.Collect(k.log.Recent())[0]; e.ID != res.Attempt || e.Revision != s.Revision {
			t.Errorf("journal has attempt %s at revision %d", e.ID, e.Revision)
		}
		w.wantJudge("slow", judge{requests: 1, rotations: 1})
		w.wantHeld(c)
		w.use(c, 200)
	})
}
