package fleet_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// hangUp stands in the server's place and ends n connections.
func hangUp(t *testing.T, url string, n int) {
	t.Helper()
	l, err := net.Listen("tcp", strings.TrimPrefix(url, "nats://"))
	must(t, err)
	for range n {
		conn, err := l.Accept()
		must(t, err)
		must(t, conn.Close())
	}
	must(t, l.Close())
}

// NATS is absent at the start, then stopped, then killed. Processes wait, say so once each time, and go on.
func TestOutagesOfNATSAreSatOut(t *testing.T) {
	t.Parallel()
	const credentials = 60
	ctx := within(t, 90*time.Second)
	f := start(ctx, t, strict(10*time.Second, 4*time.Second))
	must(t, f.Enrol(ctx, credentials))
	must(t, f.NATS.Stop(ctx))

	w, err := f.Worker("worker-1")
	must(t, err)
	s, err := f.Scheduler("scheduler-1")
	must(t, err)
	both := []*fleet.Process{w, s}
	for _, p := range both {
		must(t, p.Await(ctx, "waiting for NATS", 1))
	}
	hangUp(t, f.NATS.URL(), 12) // the fleet's own three connections call as well
	must(t, f.NATS.Start(ctx))
	must(t, f.AwaitRenewals(ctx, 1))
	for i, end := range []func() error{func() error { return f.NATS.Stop(ctx) }, f.NATS.Kill} {
		must(t, end())
		for _, p := range both {
			must(t, p.Await(ctx, "NATS is gone", i+1))
		}
		must(t, f.NATS.Start(ctx))
		for _, p := range both {
			must(t, p.Await(ctx, "NATS is back", i+1))
		}
		must(t, f.AwaitRenewals(ctx, 1))
	}
	stop(ctx, t, s, schedulerStopped)
	stop(ctx, t, w, workerStopped)
	for _, p := range both {
		wantSaid(t, p, "waiting for NATS", 1)
		wantSaid(t, p, "NATS is here", 1)
		wantSaid(t, p, "NATS is gone", 2)
		wantSaid(t, p, "NATS is back", 2)
	}
	v := judge(ctx, t, f)
	wantEqual(t, "credentials that go on", v.States[refresh.StateActive]+v.States[refresh.StateRetrying], credentials)
}
