package virtual_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// What the gap is measured with.
const (
	gapTimeout = 10 * time.Second // the claim lives 12.5 s, the quarantine 10 s more
	gapLife    = 10 * time.Minute
	gapGrace   = time.Minute
)

// stalled is a connection whose first write stands still, in the instruction that hands the bytes to the kernel: after
// every check there is, deaf to deadlines and to Close. It is what a process is that was frozen there.
type stalled struct {
	net.Conn
	stand time.Duration
	falls func() // asleep
	wakes func()

	mu      sync.Mutex
	written bool
	asleep  bool
	closing bool
}

// Write implements net.Conn.
func (c *stalled) Write(p []byte) (int, error) {
	c.mu.Lock()
	first := !c.written
	c.written, c.asleep = true, first
	c.mu.Unlock()
	if !first {
		return c.Conn.Write(p)
	}
	c.falls()
	time.Sleep(c.stand)
	c.wakes()
	_ = c.Conn.SetDeadline(time.Time{})
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asleep = false; c.closing {
		_ = c.Conn.Close()
	}
	return n, err
}

// Close implements net.Conn.
func (c *stalled) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing = c.asleep; c.asleep {
		return nil
	}
	return c.Conn.Close()
}

// gap is what came of one freeze.
type gap struct {
	ledger authserver.Ledger
	others int64 // presentations of the same refresh token before the late one
	state  refresh.State
	lost   bool
}

// freezeAtTheByte freezes a worker for so long between its last check and its first byte; another one is there to take over.
func freezeAtTheByte(t *testing.T, class authserver.Rotation, stand time.Duration) (g gap) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		asleep, others := make(chan struct{}), int64(0)
		var once sync.Once
		var f *fleet
		f = newFleet(t, fleetConfig{
			Schedulers: 1, Workers: 1,
			Auth:     authserver.Config{Rotation: class, Grace: gapGrace, AccessLifetime: gapLife, Latency: 200 * time.Millisecond},
			Provider: func(d *provider.Definition) { d.Limits.Timeout = provider.Duration(gapTimeout) },
			Dial: func(_ string, dial dialFunc) dialFunc {
				return func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := dial(ctx, network, addr)
					if err == nil {
						once.Do(func() {
							c = &stalled{
								Conn: c, stand: stand, falls: func() { close(asleep) },
								wakes: func() { others = f.auth.Ledger().Requests["token"] },
							}
						})
					}
					return c, err
				}
			},
		})
		c := f.enrol("alice")
		<-asleep
		f.run("w2", f.worker)
		time.Sleep(stand + 3*gapLife)
		f.stop()
		s, err := f.Get(f.ctx, c)
		f.must(err)
		g = gap{ledger: f.auth.Ledger(), others: others, state: s.Record.State, lost: len(f.lost()) > 0}
	})
	return g
}

// shortest finds the shortest freeze between two, to the tenth of a second, of which something holds; ok is false when it
// does not even hold of the longest. What holds of one must hold of all longer ones.
func shortest(t *testing.T, class authserver.Rotation, low, high time.Duration, holds func(gap) bool) (d time.Duration, ok bool) {
	t.Helper()
	if !holds(freezeAtTheByte(t, class, high)) {
		return 0, false
	}
	for high-low > 100*time.Millisecond {
		mid := (low + high) / 2
		if holds(freezeAtTheByte(t, class, mid)) {
			high = mid
		} else {
			low = mid
		}
	}
	return high.Round(100 * time.Millisecond), true
}

// TestGap measures what invariant 1 leaves open: how long a process must be frozen at the worst instruction, after the last
// check and before the first byte, until its refresh token comes second, and what comes of it.
func TestGap(t *testing.T) {
	begin(t, "gap")
	const dead = gapTimeout * 9 / 4
	figure(t, "timing", "timeout %s, claim and quarantine %s; access tokens live %s; grace %s", gapTimeout, dead, gapLife, gapGrace)
	for _, class := range authserver.Rotations() {
		g := freezeAtTheByte(t, class, dead-time.Second)
		if g.others > 0 || g.ledger.Replayed+g.ledger.Concurrent > 0 || g.lost && g.state != refresh.StateReauthRequired {
			t.Errorf("%s: frozen within claim and quarantine: %d other presentations, %s, lost %v, %+v", class, g.others, g.state, g.lost, g.ledger)
		}
		if *long {
			gapOf(t, class, dead)
		}
	}
}

// gapOf prints a class's figures.
func gapOf(t *testing.T, class authserver.Rotation, dead time.Duration) {
	t.Helper()
	const most = 2 * gapLife
	orNever := func(d time.Duration, ok bool) string {
		if !ok {
			return "never"
		}
		return "from " + d.String()
	}
	unheard, ok := shortest(t, class, 0, dead-time.Second, func(g gap) bool { return g.ledger.Abandoned > 0 || g.ledger.Requests["token"] > g.ledger.Refreshes })
	figure(t, string(class), "the late answer is not heard: %s", orNever(unheard, ok))
	second, ok := shortest(t, class, 0, most, func(g gap) bool { return g.others > 0 })
	figure(t, "", "another attempt came first: %s", orNever(second, ok))
	if ok && second <= dead {
		t.Errorf("%s: presented twice after a freeze of %v, within claim and quarantine", class, second)
	}
	ends, harms := shortest(t, class, second, most, func(g gap) bool { return g.others > 0 && g.ledger.Revoked > 0 })
	figure(t, "", "and the grant is ended for it: %s", orNever(ends, harms))
	g := freezeAtTheByte(t, class, most)
	figure(t, "", "frozen for %s: %d reused, %d replayed, %d concurrent, %d last tries, %d grants ended; the record is %s, lost %v",
		most, g.ledger.Reused, g.ledger.Replayed, g.ledger.Concurrent, g.ledger.LastTries, g.ledger.Revoked, g.state, g.lost)
	if g.lost && g.state != refresh.StateReauthRequired {
		t.Errorf("%s: a grant was lost in silence: the record is %s", class, g.state)
	}
}
