package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Hands is how many jobs one Lane.Run carries out at once. It may be changed while the lane runs. Make it with NewHands.
type Hands struct {
	n       atomic.Int64
	changed chan struct{} // there are more or fewer than before
}

// NewHands returns n hands, of which there should be at least one.
func NewHands(n int) *Hands {
	h := &Hands{changed: make(chan struct{}, 1)}
	h.n.Store(int64(n))
	return h
}

// Set makes it n hands. Jobs that are in hand are finished, so that fewer take effect as they end.
func (h *Hands) Set(n int) {
	if h.n.Swap(int64(n)) == int64(n) {
		return
	}
	select {
	case h.changed <- struct{}{}:
	default: // a signal is waiting already
	}
}

func (h *Hands) count() int { return int(h.n.Load()) }

// crew is the hands of one Lane.Run, over all its sessions, and the account of what was asked for on their behalf.
// One lock covers both, because the invariant does: busy + open is never above hands, unless these just became fewer, and a
// wake-up follows whatever makes it smaller.
type crew struct {
	hands   *Hands
	handle  HandleFunc
	ctx     context.Context // of the handlers
	wake    chan struct{}   // there may be something to ask for
	next    chan task       // for a goroutine that has nothing to do
	over    chan struct{}   // closed when there will be no more jobs
	running sync.WaitGroup
	began   time.Time
	warmUp  time.Duration

	mu      sync.Mutex
	done    int // jobs finished
	busy    int
	session *pull // whose messages are taken; nil between sessions
	open    int   // jobs the session has asked for and not got
	resting bool  // what expires is not asked for again until nothing is open, or a job comes
	heard   time.Time
	worked  bool // the session got a sensible word from the server
}

func newCrew(ctx context.Context, hands *Hands, handle HandleFunc, warmUp time.Duration) *crew {
	return &crew{
		hands: hands, handle: handle, ctx: ctx, wake: make(chan struct{}, 1), next: make(chan task), over: make(chan struct{}),
		began: time.Now(), warmUp: warmUp,
	}
}

// begin makes p the session whose messages are taken.
func (c *crew) begin(p *pull) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.open, c.resting, c.heard, c.worked = p, 0, false, time.Now(), false
}

// end takes no more jobs, and reports whether the session worked at all.
func (c *crew) end() (worked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = nil
	return c.worked
}

// firstHands is how many jobs are taken at once while a lane warms up; each that is finished allows one more.
const firstHands = 4

// able is how many jobs may be in hand. The caller holds mu.
func (c *crew) able() int {
	n := c.hands.count()
	if time.Since(c.began) < c.warmUp {
		return min(n, firstHands+c.done)
	}
	return n
}

// ask returns for how many jobs a request is due: one for each free hand that nothing was asked for yet. Requests that expire on
// an idle lane wait for the last of them and become one: each costs heartbeats and a renewal for as long as it
// stands, and every job leaves one more.
func (c *crew) ask() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.able() - c.busy - c.open
	if n <= 0 || c.resting && c.open > 0 {
		return 0
	}
	c.open += n
	c.resting, c.heard = false, time.Now()
	return n
}

// few reports whether a request now would be for a few of many hands.
func (c *crew) few() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	hands := c.able()
	n := hands - c.busy - c.open
	return 0 < n && n < hands/16
}

// tooMany reports whether more was asked for than there are hands left to take.
func (c *crew) tooMany() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open > 0 && c.busy+c.open > c.hands.count()
}

// give hands a job of session p to a free hand; false: there is none, or the session is over.
func (c *crew) give(p *pull, msg *nats.Msg) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != p || c.busy >= c.hands.count() {
		return false
	}
	c.heard, c.worked = time.Now(), true
	c.open = max(0, c.open-1)
	c.busy++
	if c.resting { // where one job is there may be more
		c.resting = false
		c.signal()
	}
	c.pass(task{p.lane.b, msg})
	return true
}

// task is a job as it came.
type task struct {
	b   *Broker
	msg *nats.Msg
}

// handIdle is how long a goroutine waits for its next job. One that has worked before needs no new stack.
const handIdle = 10 * time.Second

// pass gives a task to a goroutine that waits for one, or to a new one.
func (c *crew) pass(t task) {
	select {
	case c.next <- t:
	default:
		c.running.Go(func() { c.work(t) })
	}
}

// work carries out tasks until there has been none for a while, or the lane is over.
func (c *crew) work(t task) {
	idle := time.NewTimer(handIdle)
	defer idle.Stop()
	for {
		c.handle(c.ctx, t.b.delivery(t.msg))
		c.finish()
		idle.Reset(handIdle)
		select {
		case t = <-c.next:
		case <-c.over:
			return
		case <-idle.C:
			return
		}
	}
}

// wait returns when every job is finished. No more may be given.
func (c *crew) wait() {
	close(c.over)
	c.running.Wait()
}

func (c *crew) finish() {
	c.mu.Lock()
	c.busy--
	c.done++
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
		c.resting = true
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
