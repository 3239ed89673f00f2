package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestNewNamesAllThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := schedule.New(schedule.Config{})
	for _, what := range []string{"records", "providers", "queue", "teller", "time", "source"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v does not name %s", err, what)
		}
	}
}

func TestJobIsPublishedInTheSecondItIsDue(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		w.put(record("acme.alice", 10*time.Minute), refresh.Announcement{})
		l, stop := w.schedule("s1")
		defer stop()
		time.Sleep(10*time.Minute - time.Second)
		if got := l.keys(); len(got) != 0 {
			w.t.Errorf("published early: %v", got)
		}
		time.Sleep(2 * time.Second)
		want := refresh.Job{Reason: events.ReasonScheduled, GrantID: grantID("acme.alice"), NewerThan: 1}
		if jobs := w.jobs(); len(jobs) != 1 || jobs[0] != want {
			w.t.Fatalf("jobs %+v, want %+v; errors %v", jobs, want, l.errors())
		}
		if lags := l.done().lags; len(lags) != 1 || lags[0] > time.Second {
			w.t.Errorf("lags %v", lags)
		}
	})
}

func TestThreeSchedulersPublishOneJobEachTime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		const n, hours = 20, 2
		for i := range n {
			w.put(record(fmt.Sprintf("acme.a%d", i), time.Duration(i)*time.Minute), refresh.Announcement{})
		}
		var attempts atomic.Int64
		stopWork := w.work("acme", 8, func(j job) {
			time.Sleep(7 * time.Second) // longer than a scheduler waits before it looks again
			attempts.Add(1)
			w.refreshed(j)
		})
		var logs []*log
		for i := range 3 {
			l, stop := w.schedule(fmt.Sprintf("s%d", i+1))
			defer stop()
			logs = append(logs, l)
		}
		time.Sleep(hours * time.Hour)
		stopWork()
		published := 0
		for i, l := range logs {
			published += len(l.keys())
			if errs := l.errors(); len(errs) > 0 {
				w.t.Errorf("scheduler %d: %v", i+1, errs)
			}
		}
		versions := 0
		w.must(w.Records(w.ctx, "", func(s refresh.Stored, err error) error {
			versions += int(s.Record.Version) - 1
			return err
		}))
		if versions < n*(hours*60/46-1) || published != versions || int(attempts.Load()) != versions {
			w.t.Errorf("%d new versions, %d jobs published, %d attempts", versions, published, attempts.Load())
		}
	})
}

func TestMostUrgentGoFirstUnderBackPressure(t *testing.T) {
	inWorld(t, func(w *world) {
		const n, hands = 60, 2
		w.apply(acme(func(d *provider.Definition) { d.Limits.Concurrency = hands }))
		var byDeadline []string
		for i := range n {
			byDeadline = append(byDeadline, fmt.Sprintf("acme.a%02d", i))
		}
		for _, i := range rand.Perm(n) {
			r := record(byDeadline[i], -time.Minute)
			r.ExpiresAt = r.ExpiresAt.Add(time.Duration(i) * time.Minute)
			w.put(r, refresh.Announcement{})
		}
		l, stop := w.schedule("s1")
		defer stop()
		stopWork := w.work("acme", hands, func(j job) {
			time.Sleep(3 * time.Second)
			info, err := w.LaneInfo(w.ctx, "acme")
			if held := int(info.Pending) + info.AckPending; err != nil || held > 2*hands {
				w.t.Errorf("the lane holds %d jobs (%v), want %d at most", held, err, 2*hands)
			}
			w.refreshed(j)
		})
		time.Sleep(5 * time.Minute)
		stopWork()
		keys := l.keys()
		if len(keys) != n {
			w.t.Fatalf("%d published, want %d", len(keys), n)
		}
		for i, key := range keys { // what is published side by side may swap places
			if place := slices.Index(byDeadline, key); place > i+2*hands || place < i-2*hands {
				w.t.Errorf("%s was published as number %d, its deadline is number %d", key, i, place)
			}
		}
	})
}

// TestAFastLaneIsKeptBusy: a lane is topped up as its jobs come to their ends, not once a tick.
func TestAFastLaneIsKeptBusy(t *testing.T) {
	inWorld(t, func(w *world) {
		const n, hands = 300, 2
		w.apply(acme(func(d *provider.Definition) { d.Limits.Concurrency = hands }))
		for i := range n {
			w.put(record(fmt.Sprintf("acme.a%d", i), -time.Minute), refresh.Announcement{})
		}
		l, stop := w.schedule("s1")
		defer stop()
		stopWork := w.work("acme", hands, func(j job) {
			time.Sleep(20 * time.Millisecond)
			w.refreshed(j)
		})
		time.Sleep(8 * time.Second) // 300 × 20 ms by two hands are 3 s
		stopWork()
		if got := len(l.keys()); got != n {
			w.t.Errorf("%d published in 8 s, want %d", got, n)
		}
	})
}

func TestRateHoldsOverThreeSchedulers(t *testing.T) {
	for _, tt := range []struct {
		rate    provider.Rate
		n       int
		within  time.Duration
		perUnit int // in any unit of time
		unit    time.Duration
	}{
		{10, 200, 22 * time.Second, 10, time.Second},
		{0.5, 10, 22 * time.Second, 1, time.Second},
		{1.0 / 60, 5, 6 * time.Minute, 1, time.Second},
	} {
		t.Run(tt.rate.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.apply(acme(func(d *provider.Definition) { d.Limits.Rate = tt.rate }))
				for i := range tt.n {
					w.put(record(fmt.Sprintf("acme.a%d", i), -time.Minute), refresh.Announcement{})
				}
				var mu sync.Mutex
				var at []time.Time
				stopWork := w.work("acme", 64, func(j job) {
					mu.Lock()
					at = append(at, j.published)
					mu.Unlock()
					w.refreshed(j)
				})
				for i := range 3 {
					_, stop := w.schedule(fmt.Sprintf("s%d", i+1))
					defer stop()
				}
				time.Sleep(tt.within)
				stopWork()
				slices.SortFunc(at, time.Time.Compare)
				if len(at) != tt.n {
					w.t.Errorf("%d published in %v, want %d", len(at), tt.within, tt.n)
				}
				for i := range max(0, len(at)-tt.perUnit) {
					if d := at[i+tt.perUnit].Sub(at[i]); d < tt.unit {
						w.t.Errorf("%d jobs within %v, from %v on", tt.perUnit+1, d, at[i])
					}
				}
			})
		})
	}
}

func TestPausedLanePublishesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		w.put(record("acme.alice", time.Minute), refresh.Announcement{})
		w.do2(w.PauseLane(w.ctx, "acme", provider.Pause{By: "operator"}))
		l, stop := w.schedule("s1")
		defer stop()
		time.Sleep(time.Hour)
		if got := l.keys(); len(got) != 0 {
			w.t.Errorf("published %v", got)
		}
		_, _, err := w.ResumeLane(w.ctx, "acme", "operator")
		w.must(err)
		time.Sleep(2 * time.Second)
		if got := l.keys(); len(got) != 1 {
			w.t.Errorf("published %v after the pause", got)
		}
	})
}

func TestPauseWhoseEndHasPassedIsEndedAndTold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		w.put(record("acme.alice", time.Minute), refresh.Announcement{})
		w.do2(w.PauseLane(w.ctx, "acme", provider.Pause{By: "worker", Until: w.Now().Add(10 * time.Minute)}))
		var logs []*log
		for i := range 3 {
			l, stop := w.schedule(fmt.Sprintf("s%d", i+1))
			defer stop()
			logs = append(logs, l)
		}
		time.Sleep(10*time.Minute - time.Second)
		if got := w.jobs(); len(got) != 0 {
			w.t.Errorf("published %v", got)
		}
		time.Sleep(5 * time.Second)
		e, revision, err := w.Provider(w.ctx, "acme")
		if err != nil || e.Pause != nil {
			w.t.Errorf("the entry says %+v, %v", e.Pause, err)
		}
		if got := w.jobs(); len(got) != 1 {
			w.t.Errorf("published %v", got)
		}
		var resumed []string
		for _, e := range w.told() {
			if e.Type == events.ProviderResumed {
				resumed = append(resumed, e.ID)
			}
		}
		if want := events.ProviderEventID(events.ProviderResumed, "acme", revision); !slices.Equal(resumed, []string{want}) {
			w.t.Errorf("told %v, want %s", resumed, want)
		}
		for _, l := range logs {
			if errs := l.errors(); len(errs) > 0 {
				w.t.Error(errs)
			}
		}
	})
}

func TestPolicyOfAProviderHoldsAsSoonAsItIsApplied(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		r := record("acme.alice", 0)
		r.RefreshAt, r.ExpiresAt = time.Time{}, time.Time{} // a token without an end
		w.put(r, refresh.Announcement{})
		own := record("acme.bob", 0)
		own.RefreshAt, own.ExpiresAt = time.Time{}, time.Time{}
		own.Policy = &refresh.Policy{KeepAlive: provider.Duration(3 * time.Hour)}
		w.put(own, refresh.Announcement{})
		l, stop := w.schedule("s1")
		defer stop()
		time.Sleep(time.Minute)
		w.apply(acme(func(d *provider.Definition) {
			d.Refresh.Cron, d.Refresh.KeepAlive = "@every 2h", provider.Duration(time.Hour)
		}))
		time.Sleep(2*time.Hour + time.Minute)
		got := make(map[string]events.Reason)
		for _, n := range l.done().published {
			if _, again := got[n.key]; !again {
				got[n.key] = n.reason
			}
		}
		if got["acme.alice"] != events.ReasonKeepAlive || got["acme.bob"] != events.ReasonCron {
			w.t.Errorf("published %v; errors %v", l.done().published, l.errors())
		}
		for _, j := range w.jobs() {
			want := r.IssuedAt.Add(time.Hour)
			if j.Reason == events.ReasonCron {
				want = r.IssuedAt.Add(2*time.Hour + 2*time.Second)
			}
			if d := j.IssuedAfter.Sub(want); d < 0 || d > time.Second {
				w.t.Errorf("%s job wants a token after %v, want %v", j.Reason, j.IssuedAfter, want)
			}
		}
	})
}

func TestJobThatChangesNothingIsPublishedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		d := acme(nil)
		w.apply(d)
		w.put(record("acme.alice", time.Minute), refresh.Announcement{})
		l, stop := w.schedule("s1")
		defer stop()
		stopWork := w.work("acme", 1, func(j job) { j.ack(t) })
		defer stopWork()
		time.Sleep(time.Hour)
		published := l.done().published
		if len(published) < 10 {
			w.t.Fatalf("published %d times in an hour", len(published))
		}
		for i := range published[1:] {
			if wait := published[i+1].at.Sub(published[i].at); wait < d.Timing().AckWait-time.Second || wait > 2*time.Minute {
				w.t.Errorf("published again after %v", wait)
			}
		}
	})
}

func TestClaimDoesNotMakeACredentialDueAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(acme(nil))
		w.put(record("acme.alice", time.Minute), refresh.Announcement{})
		l, stop := w.schedule("s1")
		defer stop()
		stopWork := w.work("acme", 1, func(j job) {
			s := w.record(j.key)
			s.Record.Claim = &refresh.Claim{Attempt: "attempt", Worker: "w1", TTL: provider.Duration(25 * time.Second)}
			w.put(s.Record, refresh.Announcement{})
			time.Sleep(20 * time.Second)
			w.refreshed(j)
		})
		time.Sleep(5 * time.Minute)
		stopWork()
		if did := l.done(); len(did.published) != 1 || did.queued != 0 {
			w.t.Errorf("did %+v", did)
		}
	})
}

func TestBulkImportComesBackSpread(t *testing.T) {
	inWorld(t, func(w *world) {
		d := acme(func(d *provider.Definition) { d.Limits.Concurrency = 1000 })
		w.apply(d)
		const n = 1000
		now := time.Now().UTC()
		for i := range n {
			r := record(fmt.Sprintf("acme.a%d", i), 0)
			r.ExpiresAt = now.Add(time.Hour)
			r.RefreshAt = refresh.RefreshAt(r.Credential().Key(), d.Refresh, now, r.ExpiresAt)
			w.do2(w.Put(w.ctx, refresh.Write{Record: r}))
		}
		l, stop := w.schedule("s1")
		defer stop()
		stopWork := w.work("acme", 100, w.refreshed)
		time.Sleep(46 * time.Minute)
		stopWork()
		perMinute := make(map[int]int)
		for _, p := range l.done().published {
			perMinute[int(p.at.Sub(now)/time.Minute)]++
		}
		w.t.Logf("jobs in each minute: %v", perMinute)
		if len(l.done().published) != n || len(perMinute) < 6 {
			w.t.Errorf("%d published, in %d different minutes", len(l.done().published), len(perMinute))
		}
		for minute, got := range perMinute {
			if got > n/4 {
				w.t.Errorf("%d of %d in minute %d", got, n, minute)
			}
		}
	})
}
