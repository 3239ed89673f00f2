package broker

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// crew is the hands of one Lane.Run, over all its sessions, and the account of what was asked for on their behalf.
// One lock covers both, because the invariant does: busy + open is never above hands, and a wake-up follows
// whatever makes it smaller.
type crew struct {
	hands   int
	handle  HandleFunc
	ctx     context.Context // of the handlers
	wake    chan struct{}   // there may be something to ask for
	running sync.WaitGroup

	mu      sync.Mutex
	busy    int
	session *pull // whose messages are taken; nil between sessions
	open    int   // jobs the session has asked for and not got
	heard   time.Time
	worked  bool // the session got a sensible word from the server
}

func newCrew(ctx context.Context, hands int, handle HandleFunc) *crew {
	return &crew{hands: hands, handle: handle, ctx: ctx, wake: make(chan struct{}, 1)}
}

// begin makes p the session whose messages are taken.
func (c *crew) begin(p *pull) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.open, c.heard, c.worked = p, 0, time.Now(), false
}

// end takes no more jobs, and reports whether the session worked at all.
func (c *crew) end() (worked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = nil
	return c.worked
}

// ask returns for how many jobs a request is due: one for each free hand that nothing was asked for yet.
func (c *crew) ask() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.hands - c.busy - c.open
	if n > 0 {
		c.open += n
		c.heard = time.Now()
	}
	return n
}

// give hands a job of session p to a free hand; false: there is none, or the session is over.
func (c *crew) give(p *pull, msg *nats.Msg) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != p || c.busy >= c.hands {
		return false
	}
	c.heard, c.worked = time.Now(), true
	c.open = max(0, c.open-1)
	c.busy++
	c.running.Go(func() {
		defer c.finish()
		c.handle(c.ctx, p.lane.b.delivery(msg))
	})
	return true
}

func (c *crew) finish() {
	c.mu.Lock()
	c.busy--
	c.mu.Unlock()
	c.signal()
}

// expired takes back n jobs that session p asked for in vain; 0 for a heartbeat.
func (c *crew) expired(p *pull, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != p {
		return
	}
	c.heard, c.worked = time.Now(), true
	c.open = max(0, c.open-n)
	if n > 0 {
		c.signal()
	}
}

// silent reports whether the server owes a word for too long.
func (c *crew) silent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open > 0 && time.Since(c.heard) > pullPatience
}

func (c *crew) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // a signal is waiting already
	}
}
