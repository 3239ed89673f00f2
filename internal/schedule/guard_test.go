package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// rejected writes what a worker does when the provider rejects a grant.
func (w *world) rejected(j job) {
	s := w.record(j.key)
	r := s.Record
	r.State, r.RefreshAt = refresh.StateRetrying, w.Now().Add(time.Minute)
	r.Failure = &refresh.Failure{Count: 1, Class: refresh.ClassRejected, Since: w.Now(), At: w.Now()}
	w.do2(w.Put(w.ctx, refresh.Write{Record: r, Revision: s.Revision}))
	j.ack(w.t)
}

// TestARejectingProviderIsPaused: many rejections pause the lane, one credential probes, and when the provider is well the
// lane comes back little by little.
func TestARejectingProviderIsPaused(t *testing.T) {
	inWorld(t, func(w *world) {
		const n = 40
		w.apply(acme(nil))
		for i := range n {
			w.put(record(fmt.Sprintf("acme.a%02d", i), -time.Minute), refresh.Announcement{})
		}
		var well atomic.Bool
		var attempts atomic.Int32
		stopWork := w.work("acme", 2, func(j job) {
			attempts.Add(1)
			time.Sleep(500 * time.Millisecond)
			if well.Load() {
				w.refreshed(j)
			} else {
				w.rejected(j)
			}
		})
		defer stopWork()
		l, stop := w.schedule("s1")
		defer stop()
		_, stop2 := w.schedule("s2")
		defer stop2()
		time.Sleep(time.Minute)
		e, _, err := w.Provider(w.ctx, "acme")
		if err != nil || e.Pause == nil || e.Pause.Reason != provider.PauseRejections {
			w.t.Fatalf("entry %+v, %v", e.Pause, err)
		}
		if n := attempts.Load(); n < 5 || n > 10 {
			w.t.Errorf("%d attempts before the lane was paused", n)
		}
		if !slices.ContainsFunc(l.errors(), func(err error) bool { return strings.Contains(err.Error(), "rejects the grants of") }) {
			w.t.Errorf("nobody said why: %q", l.errors())
		}
		before := attempts.Load()
		time.Sleep(11 * time.Minute) // two pauses
		if probes := attempts.Load() - before; probes < 1 || probes > 3 {
			w.t.Errorf("%d probes in two pauses", probes)
		}
		well.Store(true)
		time.Sleep(8 * time.Minute)
		if e, _, err := w.Provider(w.ctx, "acme"); err != nil || e.Pause != nil || e.RejectionsSince.IsZero() {
			w.t.Errorf("the provider is well: entry %+v since %v, %v", e.Pause, e.RejectionsSince, err)
		}
		for i := range n {
			if r := w.record(fmt.Sprintf("acme.a%02d", i)).Record; r.State != refresh.StateActive || r.Version < 2 {
				w.t.Errorf("a%02d is %s at version %d", i, r.State, r.Version)
			}
		}
		var paused, resumed int
		for _, e := range w.told() {
			switch e.Type {
			case events.ProviderPaused:
				paused++
			case events.ProviderResumed:
				resumed++
				if e.Data.By != "" {
					w.t.Errorf("told that %s resumed the lane, which nobody here knows", e.Data.By)
				}
			}
		}
		if paused < 2 || paused != resumed {
			w.t.Errorf("told of %d pauses and %d ends", paused, resumed)
		}
	})
}

// TestAFewRejectionsAreThePeoples: grants that people withdraw pause nobody.
func TestAFewRejectionsAreThePeoples(t *testing.T) {
	inWorld(t, func(w *world) {
		const n = 40
		w.apply(acme(nil))
		for i := range n {
			w.put(record(fmt.Sprintf("acme.a%02d", i), -time.Minute), refresh.Announcement{})
		}
		var i atomic.Int32
		stopWork := w.work("acme", 2, func(j job) {
			if i.Add(1)%4 == 0 {
				w.rejected(j)
			} else {
				w.refreshed(j)
			}
		})
		defer stopWork()
		_, stop := w.schedule("s1")
		defer stop()
		time.Sleep(45 * time.Second)
		if e, _, err := w.Provider(w.ctx, "acme"); err != nil || e.Pause != nil {
			w.t.Errorf("paused: %+v, %v", e.Pause, err)
		}
	})
}

// TestARewriteIsNoNewRejection: what was rejected one by one, long ago, is sealed anew all at once.
func TestARewriteIsNoNewRejection(t *testing.T) {
	inWorld(t, func(w *world) {
		const n = 8
		w.apply(acme(nil))
		key := func(i int) string { return fmt.Sprintf("acme.a%02d", i) }
		for i := range n {
			w.put(record(key(i), 5*time.Hour), refresh.Announcement{})
		}
		_, stop := w.schedule("s1")
		defer stop()
		write := func(i int, change func(*refresh.Record)) {
			s := w.record(key(i))
			change(&s.Record)
			w.do2(w.Put(w.ctx, refresh.Write{Record: s.Record, Revision: s.Revision}))
		}
		time.Sleep(time.Second)
		for i := range n {
			write(i, func(r *refresh.Record) {
				r.State = refresh.StateRetrying
				r.Failure = &refresh.Failure{Count: 1, Class: refresh.ClassRejected, Since: w.Now(), At: w.Now()}
			})
			time.Sleep(3 * time.Minute)
		}
		time.Sleep(10 * time.Minute)
		for i := range n {
			write(i, func(r *refresh.Record) { r.Grant = []byte("sealed anew") })
		}
		time.Sleep(30 * time.Second)
		if e, _, err := w.Provider(w.ctx, "acme"); err != nil || e.Pause != nil {
			w.t.Errorf("paused: %+v, %v", e.Pause, err)
		}
	})
}
