package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// lossy is a broker whose watches a test can break.
type lossy struct {
	*world
	lose chan struct{}     // breaks a watch
	see  func(broker.Seen) // called before each record is delivered; may be nil
}

func (r *lossy) WatchRecords(ctx context.Context, cfg broker.WatchConfig, handle func(broker.Seen), caughtUp func()) error {
	return r.breakable(ctx, func(ctx context.Context) error {
		return r.world.WatchRecords(ctx, cfg, func(s broker.Seen) {
			if r.see != nil {
				r.see(s)
			}
			handle(s)
		}, caughtUp)
	})
}

func (r *lossy) WatchProviders(
	ctx context.Context, handle func(name string, e provider.Entry, revision uint64, err error), caughtUp func(),
) error {
	return r.breakable(ctx, func(ctx context.Context) error { return r.world.WatchProviders(ctx, handle, caughtUp) })
}

func (r *lossy) breakable(ctx context.Context, watch func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var waits sync.WaitGroup
	waits.Go(func() {
		select {
		case <-r.lose:
			cancel(broker.ErrWatchLost)
		case <-ctx.Done():
		}
	})
	err := watch(ctx)
	if errors.Is(context.Cause(ctx), broker.ErrWatchLost) {
		err = broker.ErrWatchLost
	}
	cancel(nil)
	waits.Wait()
	return err
}

func TestServerRestartIsSaidOnceAndMadeUpFor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		for i := range 5 {
			w.put(record(fmt.Sprintf("acme.a%d", i), 2*time.Minute), refresh.Announcement{})
		}
		l, stop := w.schedule("s1")
		defer stop()
		time.Sleep(time.Minute)
		w.nats.Stop()
		time.Sleep(10 * time.Minute) // everything falls due
		if got := l.keys(); len(got) != 0 {
			w.t.Errorf("published %v while the server was away", got)
		}
		errs := l.errors()
		if len(errs) != 2 { // the records and the providers
			w.t.Errorf("reported %d times: %v", len(errs), errs)
		}
		w.must(w.nats.Start())
		time.Sleep(time.Minute)
		if got := l.keys(); len(got) != 5 {
			w.t.Errorf("published %v, want five", got)
		}
		if errs := l.errors(); len(errs) > 0 {
			w.t.Errorf("reported again: %v", errs)
		}
		if !slices.Equal(l.done().rebuilt, []int{5, 5}) {
			w.t.Errorf("rebuilt: %v", l.done().rebuilt)
		}
	})
}

func TestGapDropsWhatIsNotThereAnyMore(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		for _, key := range []string{"acme.stays", "acme.goes"} {
			w.put(record(key, 10*time.Minute), refresh.Announcement{})
		}
		records := &lossy{world: w, lose: make(chan struct{})}
		l, stop := w.scheduleWith("s1", func(c *schedule.Config) { c.Records = records })
		defer stop()
		time.Sleep(time.Minute)
		w.purge(w.Names().TokensStream(), w.Names().RecordKeySubject("acme.goes"))
		records.lose <- struct{}{}
		time.Sleep(time.Hour)
		if got := l.keys(); !slices.Equal(slices.Compact(got), []string{"acme.stays"}) {
			w.t.Errorf("published %v", got)
		}
		if !slices.Equal(l.done().rebuilt, []int{2, 1}) {
			w.t.Errorf("rebuilt: %v", l.done().rebuilt)
		}
	})
}

func TestOverdueIsPublishedWhileTheIndexFills(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		for i := range 10 {
			w.put(record(fmt.Sprintf("acme.a%d", i), -time.Minute), refresh.Announcement{})
		}
		release := make(chan struct{})
		records := &lossy{world: w, see: func(s broker.Seen) {
			if s.Key == "acme.a9" {
				<-release
			}
		}}
		l, stop := w.scheduleWith("s1", func(c *schedule.Config) { c.Records = records })
		defer stop()
		time.Sleep(3 * time.Second)
		if got := l.keys(); len(got) != 9 || l.done().rebuilt != nil {
			w.t.Errorf("published %v, rebuilt %v", got, l.done().rebuilt)
		}
		close(release)
		time.Sleep(3 * time.Second)
		if got := l.keys(); len(got) != 10 || !slices.Equal(l.done().rebuilt, []int{10}) {
			w.t.Errorf("published %v, rebuilt %v", got, l.done().rebuilt)
		}
	})
}

func TestBadRecordsAreReportedOnceAndHoldUpNobody(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		w.put(record("acme.alice", time.Minute), refresh.Announcement{})
		w.raw("acme.poison", map[string]string{"Freshet-State": "active", "Freshet-Version": "many"})
		w.raw("acme.bare", nil)
		w.raw("noprovider", map[string]string{"Freshet-State": "active", "Freshet-Version": "1", "Freshet-Generation": "1"})
		w.raw("acme.timeless", map[string]string{
			"Freshet-State": "active", "Freshet-Version": "1", "Freshet-Generation": "1", "Freshet-Cron": "when it rains",
			"Freshet-Refresh-At": w.Now().UTC().Format(time.RFC3339),
		})
		records := &lossy{world: w, lose: make(chan struct{})}
		l, stop := w.scheduleWith("s1", func(c *schedule.Config) { c.Records = records })
		defer stop()
		time.Sleep(2 * time.Minute)
		errs := l.errors()
		for _, key := range []string{"acme.poison", "noprovider", "acme.timeless"} {
			if n := mentions(errs, key); n != 1 {
				w.t.Errorf("%s is reported %d times: %v", key, n, errs)
			}
		}
		records.lose <- struct{}{}
		time.Sleep(time.Minute)
		if errs := l.errors(); len(errs) != 1 || !errors.Is(errs[0], broker.ErrWatchLost) {
			w.t.Errorf("reported again: %v", errs)
		}
		keys := l.keys()
		slices.Sort(keys)
		if got := slices.Compact(keys); !slices.Equal(got, []string{"acme.alice", "acme.bare", "acme.poison", "acme.timeless"}) {
			w.t.Errorf("published %v", got)
		}
	})
}

func mentions(errs []error, what string) (n int) {
	for _, err := range errs {
		if strings.Contains(err.Error(), what) {
			n++
		}
	}
	return n
}

// slowLane is a queue that does not answer for one lane.
type slowLane struct{ *world }

func (q slowLane) LaneInfo(ctx context.Context, name string) (broker.LaneInfo, error) {
	if name == "slow" {
		<-ctx.Done()
		return broker.LaneInfo{}, ctx.Err()
	}
	return q.world.LaneInfo(ctx, name)
}

func TestOneLaneNeverDelaysAnother(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		w.apply(acme(func(d *provider.Definition) { d.Name = "slow" }))
		for i := range 50 {
			w.put(record(fmt.Sprintf("slow.a%d", i), time.Second), refresh.Announcement{})
		}
		w.put(record("acme.alice", time.Minute), refresh.Announcement{})
		l, stop := w.scheduleWith("s1", func(c *schedule.Config) { c.Queue = slowLane{w} })
		defer stop()
		time.Sleep(time.Minute + time.Second)
		if got := l.keys(); !slices.Equal(got, []string{"acme.alice"}) {
			w.t.Errorf("published %v", got)
		}
	})
}

func TestUnknownProviderIsReportedOnceAndPublishesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 3 {
			w.put(record(fmt.Sprintf("acme.a%d", i), time.Minute), refresh.Announcement{})
		}
		l, stop := w.schedule("s1")
		defer stop()
		time.Sleep(time.Hour)
		if errs := l.errors(); len(errs) != 1 || !errors.Is(errs[0], broker.ErrUnknownProvider) || !strings.Contains(errs[0].Error(), "acme") {
			w.t.Errorf("reported %v", errs)
		}
		if got := w.jobs(); len(got) != 0 {
			w.t.Errorf("published %v", got)
		}
		w.apply(acme(nil))
		time.Sleep(3 * time.Second)
		if got := l.keys(); len(got) != 3 {
			w.t.Errorf("published %v once it is applied", got)
		}
	})
}

func TestLaneThatIsMissingIsReportedOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		w.must(w.JetStream().DeleteConsumer(w.ctx, w.Names().JobsStream(), "acme"))
		w.put(record("acme.alice", time.Minute), refresh.Announcement{})
		l, stop := w.schedule("s1")
		defer stop()
		time.Sleep(time.Hour)
		if errs := l.errors(); len(errs) != 1 || !errors.Is(errs[0], broker.ErrNoLane) {
			w.t.Errorf("reported %v", errs)
		}
		w.do2(w.EnsureLane(w.ctx, acme(nil), false))
		time.Sleep(2 * time.Second)
		if got := l.keys(); len(got) != 1 {
			w.t.Errorf("published %v", got)
		}
	})
}

func TestRunEndsWhenItsContextDoes(t *testing.T) {
	inWorld(t, func(w *world) {
		w.nats.Stop() // at once, and with NATS away
		l, stop := w.schedule("s1")
		time.Sleep(time.Hour)
		stop()
		synctest.Wait()
		if errs := l.errors(); len(errs) != 1 {
			w.t.Errorf("reported %v", errs)
		}
	})
}

// clumsy is a queue that fails for a while, having done what it was asked or not.
type clumsy struct {
	*world
	until   time.Time
	applies bool
}

func (q clumsy) PublishJob(ctx context.Context, key string, job refresh.Job, slot string) error {
	failing := time.Now().Before(q.until)
	if !failing || q.applies {
		if err := q.world.PublishJob(ctx, key, job, slot); err != nil {
			return err
		}
	}
	if failing {
		return errors.New("no answer")
	}
	return nil
}

func TestPublishThatFailsIsReportedOnceAndMadeUpFor(t *testing.T) {
	for _, tt := range []struct {
		name    string
		applies bool
		rate    provider.Rate
	}{
		{"and is not there", false, 0}, {"and is there", true, 0}, {"with a rate", false, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.apply(acme(func(d *provider.Definition) { d.Limits.Rate = tt.rate }))
				for i := range 5 {
					w.put(record(fmt.Sprintf("acme.a%d", i), time.Minute), refresh.Announcement{})
				}
				l, stop := w.scheduleWith("s1", func(c *schedule.Config) {
					c.Queue = clumsy{w, time.Now().Add(3 * time.Minute), tt.applies}
				})
				defer stop()
				time.Sleep(5 * time.Minute)
				if got := w.jobs(); len(got) != 5 {
					w.t.Errorf("%d jobs, want 5", len(got))
				}
				if errs := l.errors(); len(errs) == 0 || len(errs) > 2 || mentions(errs, "acme") != len(errs) {
					w.t.Errorf("reported %v", errs)
				}
			})
		})
	}
}

func TestProviderThatGoesAwayPublishesNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		goes func(w *world, b *lossy)
		want error // reported beside that it is unknown
	}{
		{"deleted", func(w *world, _ *lossy) { w.rawProvider(map[string]string{"KV-Operation": "DEL"}) }, nil},
		{"damaged", func(w *world, _ *lossy) { w.rawProvider(nil) }, provider.ErrMalformed},
		{"gone in a gap", func(w *world, b *lossy) {
			w.purge(w.Names().ProvidersStream(), w.Names().ProviderSubject("acme"))
			b.lose <- struct{}{}
			b.lose <- struct{}{} // the records' watch and the providers'
		}, broker.ErrWatchLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.apply(acme(nil))
				w.put(record("acme.alice", time.Hour), refresh.Announcement{})
				b := &lossy{world: w, lose: make(chan struct{})}
				l, stop := w.scheduleWith("s1", func(c *schedule.Config) { c.Records, c.Providers = b, b })
				defer stop()
				time.Sleep(time.Minute)
				tt.goes(w, b)
				time.Sleep(2 * time.Hour)
				if got := l.keys(); len(got) != 0 {
					w.t.Errorf("published %v", got)
				}
				errs := errors.Join(l.errors()...)
				if !errors.Is(errs, broker.ErrUnknownProvider) || tt.want != nil && !errors.Is(errs, tt.want) {
					w.t.Errorf("reported %v", errs)
				}
				w.apply(acme(nil))
				time.Sleep(3 * time.Second)
				if got := l.keys(); len(got) != 1 {
					w.t.Errorf("published %v", got)
				}
			})
		})
	}
}

func TestSchedulerNeedsNobodyToWatchIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		for _, key := range []string{"acme.alice", "other.bob"} {
			w.put(record(key, time.Minute), refresh.Announcement{})
		}
		for i := range 2 {
			_, stop := w.scheduleWith(fmt.Sprintf("s%d", i), func(c *schedule.Config) { c.Observer = schedule.Observer{} })
			defer stop()
		}
		time.Sleep(2 * time.Minute)
		if got := w.jobs(); len(got) != 1 {
			w.t.Errorf("jobs %v", got)
		}
	})
}
