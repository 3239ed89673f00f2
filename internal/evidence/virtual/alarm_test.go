package virtual_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// maxBackoff is the longest wait between two tries.
const maxBackoff = 5 * time.Minute

// alarmConfig is the size of the experiment.
type alarmConfig struct {
	credentials, rate, hands int
	refreshes                int64 // at least
}

// alarm is a provider that is unwell all the time and away for half an hour.
type alarm struct {
	*fleet
	alarmConfig
	outageEnds time.Time
	unwell     bool

	mu    sync.Mutex
	rng   *rand.Rand
	ended int // refused connections
}

// TestNoFalseAlarm: one request in ten goes wrong, and the provider is away for half an hour. Nobody is asked to log in again,
// everybody is fresh again soon, and the provider never sees more than its rate.
func TestNoFalseAlarm(t *testing.T) {
	cfg := alarmConfig{credentials: 120, rate: 2, hands: 8, refreshes: 700}
	if *long {
		cfg = alarmConfig{credentials: 2500, rate: 20, hands: 32, refreshes: 100_000}
	}
	begin(t, "alarm")
	real := time.Now()
	natstest.Bubble(t, func(t *testing.T) {
		a := &alarm{alarmConfig: cfg, rng: rand.New(rand.NewPCG(*seed, 4))}
		a.fleet = newFleet(t, fleetConfig{
			Schedulers: 2, Workers: 2, Dial: a.sometimes,
			Auth: authserver.Config{Lifetime: a.staggered, Latency: 200 * time.Millisecond, Seed: *seed},
			Provider: func(d *provider.Definition) {
				d.Limits = provider.Limits{Concurrency: cfg.hands, Rate: provider.Rate(cfg.rate)}
			},
		})
		began := time.Now()
		for i := range cfg.credentials {
			a.enrol(fmt.Sprintf("user-%05d", i))
		}
		a.unwellFor(func() bool { return a.auth.Ledger().Refreshes >= cfg.refreshes/2 })
		a.outage(30 * time.Minute)
		a.recover()
		a.unwellFor(func() bool { return a.auth.Ledger().Refreshes >= cfg.refreshes })
		a.faults()
		time.Sleep(30 * time.Minute) // who is uncertain waits until shortly before the access token ends
		a.stop()
		a.judge(time.Since(began))
	})
	figure(t, "took", "%s", time.Since(real).Round(100*time.Millisecond))
}

// staggered lets the first access tokens live from 20 minutes to an hour, all others an hour.
func (a *alarm) staggered(account string, nth int) time.Duration {
	var i int
	if _, err := fmt.Sscanf(account, "user-%d", &i); err != nil || nth > 1 {
		return time.Hour
	}
	return 20*time.Minute + time.Duration(i)*40*time.Minute/time.Duration(a.credentials)
}

// sometimes refuses three connections in a hundred while the provider is unwell.
func (a *alarm) sometimes(_ string, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		a.mu.Lock()
		no := a.unwell && a.rng.IntN(100) < 3
		if no || a.refusing.Load() {
			a.ended++
		}
		a.mu.Unlock()
		if no {
			return nil, refused(network)
		}
		return dial(ctx, network, addr)
	}
}

func (a *alarm) faults(list ...authserver.Fault) {
	a.t.Helper()
	a.must(a.auth.SetFaults(list))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unwell = len(list) > 0
}

// unwellFor lets one request in ten go wrong: three in a hundred are refused, three and three answered by 503 with and without
// Retry-After, one by 429.
func (a *alarm) unwellFor(enough func() bool) {
	a.faults(
		authserver.Fault{Kind: authserver.FaultStatus, Status: 503, RetryAfter: 30 * time.Second, Probability: 0.03},
		authserver.Fault{Kind: authserver.FaultStatus, Status: 503, Probability: 0.03},
		authserver.Fault{Kind: authserver.FaultStatus, Status: 429, RetryAfter: 10 * time.Second, Probability: 0.01},
	)
	for !enough() {
		time.Sleep(10 * time.Second)
	}
}

// outage takes the provider away: connections refused, then 503 with a Retry-After, then without.
func (a *alarm) outage(d time.Duration) {
	a.refusing.Store(true)
	time.Sleep(d / 3)
	a.refusing.Store(false)
	a.faults(authserver.Fault{Kind: authserver.FaultStatus, Status: 503, RetryAfter: 30 * time.Second})
	time.Sleep(d / 3)
	a.faults(authserver.Fault{Kind: authserver.FaultStatus, Status: 503})
	time.Sleep(d / 3)
	a.outageEnds = time.Now()
	figure(a.t, "at the outage's end", "%d of %d access tokens had ended", a.stale(), a.credentials)
}

// stale counts the records without a token that can be used.
func (a *alarm) stale() (n int) {
	now := time.Now()
	a.all(func(r *refresh.Record) {
		if !r.ExpiresAt.After(now) {
			n++
		}
	})
	return n
}

// recover waits until everybody is fresh. The provider is well now: who fails again by chance may wait another cap.
func (a *alarm) recover() {
	a.t.Helper()
	a.faults()
	for a.stale() > 0 && time.Since(a.outageEnds) < 2*maxBackoff {
		time.Sleep(5 * time.Second)
	}
	took := time.Since(a.outageEnds).Round(time.Second)
	figure(a.t, "all fresh after", "%s (two backoff caps are %s)", took, 2*maxBackoff)
	if n := a.stale(); n > 0 {
		a.t.Errorf("%d access tokens have ended %v after the outage", n, took)
	}
}

func (a *alarm) judge(lasted time.Duration) {
	a.t.Helper()
	l := a.auth.Ledger()
	states := make(map[refresh.State]int)
	a.all(func(r *refresh.Record) { states[r.State]++ })
	most := 0
	for _, n := range a.seconds {
		most = max(most, n)
	}
	window := l.Clients["dev"].MaxPerSecond
	figure(a.t, "lasted", "%s", lasted.Round(time.Minute))
	figure(a.t, "attempts", "%d: %v; %d jobs ended without one", a.attempts, a.classes, a.idle)
	figure(a.t, "authorization server", "%d token requests, %d refreshes, %d rotations, %d replayed, %d concurrent, %d last tries; faults %v, %d refused connections",
		l.Requests["token"], l.Refreshes, l.Rotations, l.Replayed, l.Concurrent, l.LastTries, l.Faults, a.ended)
	figure(a.t, "rate", "%d/s; at most %d requests in a second of the clock, %d within any second", a.rate, most, window)
	figure(a.t, "records", "%v, %d ended", states, a.stale())
	lost := a.lost()
	if states[refresh.StateActive] != a.credentials || a.stale() > 0 || len(lost) > 0 {
		a.t.Errorf("states %v, %d without a token, lost %v; want all of %d active", states, a.stale(), lost, a.credentials)
	}
	if told, err := a.events("token.reauth_required"); err != nil || told > 0 {
		a.t.Errorf("%d were asked to log in again, %v", told, err)
	}
	if l.Replayed+l.Concurrent+l.Revoked > 0 {
		a.t.Errorf("replayed %d, concurrent %d, revoked %d", l.Replayed, l.Concurrent, l.Revoked)
	}
	if most > a.rate || window > a.rate+1 { // a second that begins anywhere may see parts of one slot more
		a.t.Errorf("at most %d requests in a second of the clock, %d within any; the rate is %d", most, window, a.rate)
	}
}

// events counts the messages under a subject of the events stream.
func (f *fleet) events(subject string) (n uint64, err error) {
	s, err := f.JetStream().Stream(f.ctx, f.Names().EventsStream())
	if err != nil {
		return 0, err
	}
	info, err := s.Info(f.ctx, withSubject(subject+".>"))
	if err != nil {
		return 0, err
	}
	for _, count := range info.State.Subjects {
		n += count
	}
	return n, nil
}
