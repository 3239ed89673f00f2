package refresh_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// remembers gives a worker a memory, and counts the first looks it takes all the same.
func remembers(w *world, epoch *uint64, looks *int) func(*refresh.Config) {
	return func(cfg *refresh.Config) {
		cfg.Epoch = func() uint64 { return *epoch }
		cfg.Peek = func(ctx context.Context, c events.Credential) (refresh.Stored, error) {
			*looks++
			return w.Peek(ctx, c)
		}
	}
}

func TestAWorkerRemembersWhatItCommitted(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(t *testing.T, w *world, c events.Credential, epoch *uint64)
		looks     int // before the second attempt
		reads     int // of the leader
		meta      int // bytes
	}{
		"nothing-happened":     {},
		"the-record-is-large":  {meta: 8 << 10, looks: 1},
		"the-record-is-not-so": {meta: 4 << 10},
		"another-worker-was-faster": {looks: 1, meanwhile: func(t *testing.T, w *world, c events.Credential, _ *uint64) {
			wantResult(t, w.do(w.worker("w2"), c), refresh.VerdictAck, refresh.ClassOK)
		}},
		"the-record-was-touched": {reads: 1, meanwhile: func(_ *testing.T, w *world, c events.Credential, _ *uint64) {
			w.change(c, paused)
			w.change(c, func(r *refresh.Record) { r.Paused = nil })
		}},
		"the-store-may-have-been-set-back": {looks: 1, meanwhile: func(_ *testing.T, _ *world, _ events.Credential, epoch *uint64) {
			*epoch++
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := w.enrol("acme/alice")
				w.change(c, func(r *refresh.Record) { r.Meta = fmt.Appendf(nil, `{"note":%q}`, strings.Repeat("x", tt.meta)) })
				var epoch uint64
				var looks int
				k := w.worker("w1", remembers(w, &epoch, &looks))
				wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
				w.untilDue(c)
				if tt.meanwhile != nil {
					tt.meanwhile(t, w, c, &epoch)
				}
				w.untilDue(c)
				looks = 0
				before, reads := w.record(c).Record.Version, k.store.gets.count()
				job := w.scheduled(c)
				wantResult(t, k.Do(w.ctx, c, job), refresh.VerdictAck, refresh.ClassOK)
				if reads = k.store.gets.count() - reads; looks != tt.looks || reads != tt.reads {
					t.Errorf("looked %d times and read %d times, want %d and %d", looks, reads, tt.looks, tt.reads)
				}
				w.wantRecord(c, refresh.StateActive, before+1)
				w.wantJudge("acme", judge{requests: int64(before), rotations: int64(before)})
			})
		})
	}
}

// TestAWorkerForgetsWhatItCommittedBeforeTheStoreWasSetBack: the connection breaks and stands again between the store's answer and the
// look at the epoch. The store may have lost the record since.
func TestAWorkerForgetsWhatItCommittedBeforeTheStoreWasSetBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.enrol("acme/alice")
		var epoch uint64
		var looks int
		k := w.worker("w1", remembers(w, &epoch, &looks), func(cfg *refresh.Config) {
			cfg.Step = func(s refresh.Step) {
				if s == refresh.StepCommitted {
					epoch++
				}
			}
		})
		for range 2 {
			w.untilDue(c)
			looks = 0
			wantResult(t, k.Do(w.ctx, c, w.scheduled(c)), refresh.VerdictAck, refresh.ClassOK)
		}
		if looks != 1 {
			t.Errorf("looked %d times, want once", looks)
		}
	})
}

// untilDue lets time pass.
func (w *world) untilDue(c events.Credential) { time.Sleep(w.record(c).Record.RefreshAt.Sub(w.Now())) }

// A pause that nobody told the worker of holds: its claim fails, and the leader decides.
func TestWhatIsRememberedDecidesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.enrol("acme/alice")
		var epoch uint64
		var looks int
		k := w.worker("w1", remembers(w, &epoch, &looks))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		w.untilDue(c)
		job := w.scheduled(c)
		w.change(c, func(r *refresh.Record) { r.Paused = &provider.Pause{By: "operator"} })
		res := k.Do(w.ctx, c, job)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassFresh)
		if res.Decision.Why != refresh.WhyPaused {
			t.Errorf("ended because %s", res.Decision.Why)
		}
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}
