package app_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// pause returns the lane's pause as its entry says it.
func (f *fleet) pause() *provider.Pause {
	f.t.Helper()
	e, _, err := f.Provider(f.ctx, "acme")
	f.must(err)
	return e.Pause
}

func TestManyWhoPauseTellItOnce(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{})
		until := f.Now().Add(time.Minute).Truncate(time.Second).UTC()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				by := fmt.Sprintf("worker:w%d", i)
				if err := app.PauseLane(f.ctx, f.Broker, "acme", provider.Pause{By: by, Until: until, Reason: "throttled"}, "test/"+by); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		told := f.told()
		if len(told) != 1 || told[0].Type != events.ProviderPaused || !told[0].Data.Until.Equal(until) || told[0].Data.Reason != "throttled" {
			t.Errorf("told %+v", told)
		}
		for range 3 {
			f.must(app.ResumeLane(f.ctx, f.Broker, "acme", "operator", "test"))
		}
		if told := f.toldOf(events.ProviderResumed); len(told) != 1 || told[0].Data.By != "operator" {
			t.Errorf("told %+v", told)
		}
	})
}

func TestWorkersLeaveAnOperatorsPauseAlone(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{})
		operators := provider.Pause{By: "operator:carol", Until: f.Now().Add(time.Minute).Truncate(time.Second).UTC(), Reason: "maintenance"}
		f.must(app.PauseLane(f.ctx, f.Broker, "acme", operators, "test"))
		longer := provider.Pause{By: "worker:w1", Until: operators.Until.Add(time.Hour), Reason: "throttled"}
		f.must(app.PauseLane(f.ctx, f.Broker, "acme", longer, "test"))
		f.must(app.ResumeLane(f.ctx, f.Broker, "acme", "worker:w1", "test"))
		if p := f.pause(); p == nil || *p != operators {
			t.Errorf("the pause is %+v, want %+v", p, operators)
		}
		if told := f.told(); len(told) != 1 {
			t.Errorf("told %+v", told)
		}
		f.must(app.ResumeLane(f.ctx, f.Broker, "acme", "operator:dave", "test"))
		if p := f.pause(); p != nil {
			t.Errorf("the pause is %+v", p)
		}
	})
}

// TestAWorkersPauseIsOnlyEverExtended: what each of them heard from the provider counts until the last of it is over.
func TestAWorkersPauseIsOnlyEverExtended(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{})
		now := f.Now().Truncate(time.Second).UTC()
		for i, minutes := range []int{2, 1, 3} {
			p := provider.Pause{By: fmt.Sprintf("worker:w%d", i), Until: now.Add(time.Duration(minutes) * time.Minute), Reason: "throttled"}
			f.must(app.PauseLane(f.ctx, f.Broker, "acme", p, "test"))
		}
		if p := f.pause(); p == nil || !p.Until.Equal(now.Add(3*time.Minute)) || p.By != "worker:w2" {
			t.Errorf("the pause is %+v", p)
		}
		var ends []time.Duration
		for _, e := range f.toldOf(events.ProviderPaused) {
			ends = append(ends, e.Data.Until.Sub(now))
		}
		if !slices.Equal(ends, []time.Duration{2 * time.Minute, 3 * time.Minute}) {
			t.Errorf("told of ends after %v", ends)
		}
	})
}

// TestThrottledLaneWaits: a 429 pauses the lane for as long as it says, at most an hour, and a scheduler ends that.
func TestThrottledLaneWaits(t *testing.T) {
	for _, asks := range []struct{ retryAfter, waits time.Duration }{
		{90 * time.Second, 90 * time.Second},
		{5 * time.Hour, time.Hour},
		{0, 10 * time.Second},
	} {
		t.Run(asks.retryAfter.String(), func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				const n = 20
				f := newFleet(t, fleetConfig{
					Schedulers: 2, Workers: 2,
					Provider: func(d *provider.Definition) { d.Limits.Concurrency = 4 },
				})
				f.must(f.auth.SetFaults([]authserver.Fault{
					{Kind: authserver.FaultStatus, Status: 429, RetryAfter: asks.retryAfter, Count: 1},
				}))
				for i := range n {
					f.enrol(fmt.Sprintf("user-%02d", i))
				}
				time.Sleep(2*time.Hour + 15*time.Minute)
				paused, resumed := f.toldOf(events.ProviderPaused), f.toldOf(events.ProviderResumed)
				if len(paused) != 1 || len(resumed) != 1 {
					t.Fatalf("told %+v and %+v, want one of each", paused, resumed)
				}
				p, r := paused[0], resumed[0]
				if p.Data.Reason != "throttled" || p.Data.Until.Sub(p.Time) < asks.waits || p.Data.Until.Sub(p.Time) > asks.waits+time.Second {
					t.Errorf("told %+v", p)
				}
				if late := r.Time.Sub(p.Data.Until); late < 0 || late > 2*time.Second {
					t.Errorf("resumed %v after the end", late)
				}
				for _, at := range f.asked() { // what was in flight when the word came goes on
					if at.After(p.Time.Add(time.Second)) && at.Before(p.Data.Until) {
						t.Errorf("asked at %v, paused from %v until %v", at, p.Time, p.Data.Until)
					}
				}
				f.wantAllFresh(n)
			})
		})
	}
}

// TestMisconfiguredLaneMarksNobody: when the provider refuses our client, the lane waits and is probed, and no credential
// hears of it.
func TestMisconfiguredLaneMarksNobody(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		const n, hands = 40, 4
		f := newFleet(t, fleetConfig{
			Schedulers: 2, Workers: 2, Auth: authserver.Config{Latency: 100 * time.Millisecond},
			Provider: func(d *provider.Definition) { d.Limits.Concurrency = hands },
		})
		f.must(f.auth.SetFaults([]authserver.Fault{{Kind: authserver.FaultError, Code: "invalid_client"}}))
		for i := range n {
			f.enrol(fmt.Sprintf("user-%02d", i))
		}
		time.Sleep(50 * time.Minute)
		for key, s := range f.records() {
			if s.Record.State != refresh.StateActive {
				t.Errorf("%s is %s", key, s.Record.State)
			}
		}
		f.wantProbes(hands)
		f.must(f.auth.SetFaults(nil))
		time.Sleep(10 * time.Minute)
		f.wantAllFresh(n)
	})
}

// wantProbes fails the test unless the first word ended all requests but those in flight, and each pause ended with a
// single one.
func (f *fleet) wantProbes(hands int) {
	f.t.Helper()
	var bursts [][]time.Time
	for _, at := range f.asked() {
		if n := len(bursts); n > 0 && at.Sub(bursts[n-1][0]) < 5*time.Second {
			bursts[n-1] = append(bursts[n-1], at)
			continue
		}
		bursts = append(bursts, []time.Time{at})
	}
	paused, resumed := f.toldOf(events.ProviderPaused), f.toldOf(events.ProviderResumed)
	if n := len(bursts); n < 2 || len(paused) != n || len(resumed) != n-1 {
		f.t.Errorf("asked %d times, paused %d times, resumed %d times", n, len(paused), len(resumed))
	}
	for i, burst := range bursts {
		f.t.Logf("at %v: %d requests", burst[0], len(burst))
		if i == 0 && len(burst) > hands || i > 0 && (len(burst) > 1 || burst[0].Sub(bursts[i-1][0]) < 5*time.Minute) {
			f.t.Errorf("asked at %v: %d requests", burst[0], len(burst))
		}
	}
}

// TestMostUrgentFirstAfterAPause: an operator's pause leaves many due at once; deadlines decide who goes first.
func TestMostUrgentFirstAfterAPause(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		const n, hands = 60, 2
		f := newFleet(t, fleetConfig{
			Schedulers: 2, Workers: 2, Auth: authserver.Config{Lifetime: staggered(n), Latency: 2 * time.Second},
			Provider: func(d *provider.Definition) { d.Limits.Concurrency = hands },
		})
		f.must(app.PauseLane(f.ctx, f.Broker, "acme", provider.Pause{By: "operator"}, "test"))
		for _, i := range []int{7, 3, 9, 1, 5, 0, 8, 2, 6, 4} {
			for k := i; k < n; k += 10 {
				f.enrol(fmt.Sprintf("user-%04d", k))
			}
		}
		time.Sleep(50 * time.Minute)
		if asked := len(f.asked()); asked > 0 {
			t.Errorf("%d requests to a paused lane", asked)
		}
		f.must(app.ResumeLane(f.ctx, f.Broker, "acme", "operator", "test"))
		time.Sleep(5 * time.Minute)
		var order []int
		for _, e := range f.ended() {
			if e.Class != refresh.ClassOK {
				t.Logf("ended without a request: %s at %v: %s %s, %v", e.Credential, e.At, e.Class, e.Decision.Why, e.Err)
				continue
			}
			var i int
			_, err := fmt.Sscanf(e.Credential.Account, "user-%d", &i)
			f.must(err)
			order = append(order, i)
		}
		// Two schedulers fill the lane, each with twice its concurrency at most.
		const tolerance = 2 * 2 * hands
		for place, i := range order {
			if i > place+tolerance || i < place-tolerance {
				t.Errorf("number %d by deadline went as number %d", i, place)
			}
		}
		if len(order) != n || len(slices.Compact(slices.Sorted(slices.Values(order)))) != n {
			t.Errorf("%d refreshed, want %d: %v", len(order), n, order)
		}
		f.wantCleanLedger()
	})
}
