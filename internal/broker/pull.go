package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/sleep"
)

const (
	pullExpires   = 30 * time.Second
	pullHeartbeat = 5 * time.Second
	pullLinger    = time.Millisecond // what a free hand may wait for others
	pullPatience  = 12 * time.Second // without any word while requests are open: two heartbeats and a bit
	// drainPatience bounds the wait for what is on its way when a session ends.
	drainPatience = 5 * time.Second
)

var (
	// errPullLost ends a session; the lane starts another.
	errPullLost = errors.New("pull lost")
	// errFewerHands ends a session whose requests are for more hands than there are now: a request cannot be taken back,
	// but it ends with the inbox that it is to be answered to.
	errFewerHands = errors.New("there are fewer hands than jobs were asked for")
)

// pull is one session on a lane: one inbox, and pull requests for exactly as many jobs as there are free hands.
// Requests are not told apart: the server delivers under the job's own subject, so only their sum is known.
type pull struct {
	lane    *Lane
	crew    *crew
	inbox   string
	subject string // of requests
	lost    context.CancelCauseFunc
}

func newPull(l *Lane, c *crew) *pull {
	b := l.b
	return &pull{
		lane: l, crew: c, inbox: b.nc.NewInbox(),
		subject: b.prefix + "CONSUMER.MSG.NEXT." + b.names.JobsStream() + "." + l.name,
	}
}

// run pulls until ctx ends or the session is lost, and reports whether the server answered at all. When it returns, every
// job that came is with a hand or handed back.
func (p *pull) run(ctx context.Context) (worked bool, err error) {
	nc := p.lane.b.nc
	ctx, p.lost = context.WithCancelCause(ctx)
	defer p.lost(nil)
	broken := nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer nc.RemoveStatusListener(broken)
	ctx, stopPublish := p.lane.b.inflight.denial(ctx, p.subject)
	defer stopPublish()
	ctx, stopInbox := p.lane.b.inflight.denial(ctx, p.inbox)
	defer stopInbox()

	p.crew.begin(p)
	sub, err := nc.Subscribe(p.inbox, p.receive)
	if err != nil {
		return p.crew.end(), fmt.Errorf("subscribe: %w", err)
	}
	closed := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(closed) })
	err = p.await(ctx, broken)
	worked = p.crew.end()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	p.drain(sub, closed)
	return worked, err
}

// await keeps the requests topped up until the session is over.
func (p *pull) await(ctx context.Context, broken <-chan nats.Status) error {
	tick := time.NewTicker(pullHeartbeat)
	defer tick.Stop()
	for {
		if err := p.topUp(); err != nil {
			return err
		}
		select {
		case <-p.crew.wake:
			if p.crew.few() { // a request costs the server as much for one job as for many
				sleep.For(ctx, pullLinger)
			}
		case <-p.crew.hands.changed:
			if p.crew.tooMany() {
				return errFewerHands
			}
		case <-ctx.Done():
			return ctx.Err()
		case s := <-broken:
			return fmt.Errorf("%w: the connection is %s", errPullLost, s)
		case <-tick.C:
			if p.crew.silent() {
				return fmt.Errorf("%w: nothing heard from the server", errPullLost)
			}
		}
	}
}

// topUp sends one request for all hands that became free since the last.
func (p *pull) topUp() error {
	n := p.crew.ask()
	if n <= 0 {
		return nil
	}
	if err := p.lane.b.nc.PublishRequest(p.subject, p.inbox, pullRequest(n)); err != nil {
		return fmt.Errorf("%w: %w", errPullLost, err)
	}
	return nil
}

// pullRequest is the body of CONSUMER.MSG.NEXT.
func pullRequest(batch int) []byte {
	body := make([]byte, 0, 80)
	body = append(body, `{"batch":`...)
	body = strconv.AppendInt(body, int64(batch), 10)
	body = append(body, `,"expires":`...)
	body = strconv.AppendInt(body, int64(pullExpires), 10)
	body = append(body, `,"idle_heartbeat":`...)
	body = strconv.AppendInt(body, int64(pullHeartbeat), 10)
	return append(body, '}')
}

// receive takes every message of the subscription on the client library's goroutine; it never blocks.
func (p *pull) receive(msg *nats.Msg) {
	status := first(msg.Header, "Status")
	if len(msg.Data) == 0 && status != "" {
		p.control(status, msg.Header)
		return
	}
	if !p.crew.give(p, msg) {
		_ = msg.Respond([]byte("-NAK")) // should it be lost, AckWait brings the job back
	}
}

// control reads a word of the server about the requests.
func (p *pull) control(status string, h nats.Header) {
	n, err := strconv.Atoi(first(h, "Nats-Pending-Messages"))
	switch {
	case status == "100": // heartbeat
		p.crew.expired(p, 0)
	case (status == "404" || status == "408") && err == nil: // unanswered to this extent
		p.crew.expired(p, n)
	default: // 409: consumer deleted, leader changed, server shuts down; 503: nobody listens
		p.lost(fmt.Errorf("%w: %s %s", errPullLost, status, first(h, "Description")))
	}
}

// drain unsubscribes and sees to it that what was on its way is handed back.
func (p *pull) drain(sub *nats.Subscription, closed <-chan struct{}) {
	if !p.lane.b.nc.IsConnected() || sub.Drain() != nil {
		_ = sub.Unsubscribe() // nothing can come any more
	}
	patience := time.NewTimer(drainPatience)
	defer patience.Stop()
	select {
	case <-closed:
	case <-patience.C: // what still comes is handed back all the same
		_ = sub.Unsubscribe()
	}
}
