package fleet_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// firstLives makes the first token of each account live so long, and the others for the server's hour.
func firstLives(d time.Duration) func(string, int) time.Duration {
	return func(_ string, n int) time.Duration {
		if n == 1 {
			return d
		}
		return 0
	}
}

// settled is how old a token must be before a demand renews it.
const settled = 5 * time.Second

// demandUntil asks for a refresh of each credential again and again.
func demandUntil(ctx context.Context, t *testing.T, f *fleet.Fleet, enough func() bool) {
	t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for !enough() {
		for _, account := range f.Accounts() {
			c := events.Credential{Provider: fleet.Provider, Account: account}
			s, err := f.Broker.Get(ctx, c)
			must(t, err)
			job := refresh.Job{Reason: events.ReasonDemand, GrantID: s.Record.GrantID, NewerThan: s.Record.Version}
			if err := f.Broker.PublishJob(ctx, c.Key(), job, ""); !errors.Is(err, broker.ErrQueued) {
				must(t, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}

// awaitStates waits until the records are in these states.
func awaitStates(ctx context.Context, t *testing.T, f *fleet.Fleet, want map[refresh.State]int) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		have := make(map[refresh.State]int)
		err := f.Broker.Records(ctx, fleet.Provider+".>", func(s refresh.Stored, err error) error {
			have[s.Record.State]++
			return err
		})
		if err == nil && maps.Equal(have, want) { // an error: our own connection is not back yet
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("states %v, %v; want %v", have, err, want)
		}
	}
}

// NATS goes away while three workers have requests under way, and one of them is scaled in: it ends in the ordinary way, and
// what it was answered lies in its journal alone. Its directory stays, as the volume of a StatefulSet does. The others meet
// its claims, present nothing a second time, and wait. The worker that is scaled out onto the directory again stores
// what lies there.
func TestAWorkerScaledInDuringAnOutageLosesNothing(t *testing.T) {
	t.Parallel()
	const hands, workers = 8, 3
	ctx := within(t, 60*time.Second)
	asked, gone := make(chan struct{}, 4*hands*workers), make(chan struct{})
	goesAway := sync.OnceFunc(func() { close(gone) })
	defer goesAway() // so that the authorization server can end
	f := start(ctx, t, fleet.Config{
		Auth: authserver.Config{
			Rotation: authserver.RotationStrict, Lifetime: firstLives(time.Minute),
			LatencyFunc: func(string) time.Duration {
				asked <- struct{}{}
				<-gone
				return 0
			},
		},
		Limits: provider.Limits{Concurrency: hands * workers, Timeout: provider.Duration(3 * time.Second)},
	})
	must(t, f.Enrol(ctx, hands*workers))
	enrolled := time.Now()
	var all []*fleet.Process
	for _, name := range []string{"worker-0", "worker-1", "worker-2"} {
		all = append(all, worker(ctx, t, f, name, "--hands", "8"))
	}
	<-time.After(time.Until(enrolled.Add(settled))) // so that all are asked for at once, and no request waits for long
	demandUntil(ctx, t, f, func() bool { return len(asked) == hands*workers })
	must(t, f.NATS.Kill())
	goesAway()
	last := all[workers-1]
	stop(ctx, t, last, `"outcomes":8`)
	wantSaid(t, last, "start a worker with this state directory soon", 1)

	must(t, f.NATS.Start(ctx))
	awaitStates(ctx, t, f, map[refresh.State]int{refresh.StateActive: hands * (workers - 1), refresh.StateUncertain: hands})
	wantEqual(t, "token requests before the volume is back", int(f.Auth.Ledger().Requests["token"]), hands*workers)
	all[workers-1] = worker(ctx, t, f, "worker-2")
	must(t, f.AwaitHeard(ctx, func(h fleet.Heard) bool { return h.Events[events.TokenUpdated] == 2*hands*workers }))
	for _, w := range all {
		stop(ctx, t, w, workerStopped)
	}
	v := judge(ctx, t, f)
	wantEqual(t, "token requests", int(v.Ledger.Requests["token"]), hands*workers)
	wantEqual(t, "versions", v.Versions, 2*hands*workers)
	wantEqual(t, "credentials that are well", v.States[refresh.StateActive], hands*workers)
}
