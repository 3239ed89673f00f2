package app_test

import (
	"context"
	"errors"
	"fmt"
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

// TestRateHoldsOverTheFleet: three schedulers and everybody who asks for more share one rate.
func TestRateHoldsOverTheFleet(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		const n, rate = 120, 5
		f := newFleet(t, fleetConfig{
			Schedulers: 3, Workers: 2, Auth: authserver.Config{AccessLifetime: 10 * time.Minute, Latency: 150 * time.Millisecond},
			Provider: func(d *provider.Definition) { d.Limits = provider.Limits{Concurrency: 16, Rate: rate} },
		})
		var all []events.Credential
		for i := range n {
			all = append(all, f.enrol(fmt.Sprintf("user-%03d", i)))
		}
		time.Sleep(time.Minute)
		var demands sync.WaitGroup
		for _, c := range all[:n/2] {
			demands.Go(func() { f.demandUntil(c, 3) })
		}
		demands.Wait()
		time.Sleep(20 * time.Minute)
		most := f.mostInASecond()
		l := f.wantCleanLedger()
		window := l.Clients["dev"].MaxPerSecond
		t.Logf("%d requests, at most %d in a second of the clock, %d within any", len(f.asked()), most, window)
		// A demand may come late in its slot and the next ones early in theirs, so that a second which begins anywhere sees
		// parts of one slot more than the rate has.
		if most > rate || window > rate+1 {
			t.Errorf("at most %d requests in a second and %d within any, the rate is %d", most, window, rate)
		}
		if int(l.Refreshes) < 2*n {
			t.Errorf("%d refreshes, want two for each of %d", l.Refreshes, n)
		}
	})
}

// mostInASecond is the most token requests of any second of the clock.
func (f *fleet) mostInASecond() (most int) {
	seconds := make(map[int64]int)
	for _, at := range f.asked() {
		seconds[at.Unix()]++
		most = max(most, seconds[at.Unix()])
	}
	return most
}

// TestStandstillLeavesNoBacklog: the rate is kept where jobs are published, so what waits in a lane that stands still is
// bounded by a few seconds' worth, whoever asks.
func TestStandstillLeavesNoBacklog(t *testing.T) {
	const n, rate, ahead = 60, 5, 3
	definition := func(d *provider.Definition) { d.Limits = provider.Limits{Concurrency: 16, Rate: rate} }
	auth := authserver.Config{AccessLifetime: 10 * time.Minute, Latency: 150 * time.Millisecond}
	judge := func(t *testing.T, f *fleet) {
		l := f.wantCleanLedger()
		most := f.mostInASecond()
		t.Logf("%d requests, at most %d in a second", len(f.asked()), most)
		if most > rate*(1+ahead) || int(l.Refreshes) != n {
			t.Errorf("%d requests in a second, want %d at most; %d refreshes, want %d", most, rate*(1+ahead), l.Refreshes, n)
		}
	}
	t.Run("of jobs without workers", func(t *testing.T) {
		natstest.Bubble(t, func(t *testing.T) {
			f := newFleet(t, fleetConfig{Schedulers: 2, Auth: auth, Provider: definition})
			for i := range n {
				f.enrol(fmt.Sprintf("user-%03d", i))
			}
			time.Sleep(8 * time.Minute) // all are due
			f.startWorker("w1")
			time.Sleep(time.Minute)
			judge(t, f)
		})
	})
	t.Run("of demands on a paused lane", func(t *testing.T) {
		natstest.Bubble(t, func(t *testing.T) {
			f := newFleet(t, fleetConfig{Workers: 1, Auth: auth, Provider: definition})
			f.must(app.PauseLane(f.ctx, f.Broker, "acme", provider.Pause{By: "operator"}, "test"))
			var demands sync.WaitGroup
			for i := range n {
				c := f.enrol(fmt.Sprintf("user-%03d", i))
				demands.Go(func() { f.demandUntil(c, 2) })
			}
			time.Sleep(5 * time.Minute)
			f.must(app.ResumeLane(f.ctx, f.Broker, "acme", "operator", "test"))
			demands.Wait()
			judge(t, f)
		})
	})
}

// demandUntil asks for newer tokens until the version is there.
func (f *fleet) demandUntil(c events.Credential, version uint64) {
	for {
		now, err := f.Get(f.ctx, c)
		if err != nil {
			f.t.Error(err)
			return
		}
		r := now.Record
		if r.Version >= version {
			return
		}
		ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
		_, err = app.Demand(ctx, f.Broker, c, refresh.Job{Reason: events.ReasonDemand, GrantID: r.GrantID, NewerThan: r.Version})
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			f.t.Errorf("demand for %s: %v", c, err)
			return
		}
	}
}
