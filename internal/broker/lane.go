package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/sleep"
)

const (
	laneBackoff    = 100 * time.Millisecond // the first pause after trouble; doubles
	laneMaxBackoff = 5 * time.Second
	// laneSecondLook is how long a lane must be gone to count as gone: a server that just started may not know it yet.
	laneSecondLook = time.Second
)

// Lane is a provider's durable consumer.
type Lane struct {
	// Trouble, where set before Run, hears why pulling was interrupted. Run goes on by itself. It must not block.
	Trouble func(err error)
	// WarmUp, where set before Run, is for how long jobs are taken few at a time, a worker's first ones: one that dies soon
	// after it starts, again and again, should not have many refresh tokens in its hands when it does.
	WarmUp time.Duration

	b    *Broker
	name string
}

// Lane binds to a provider's lane. It never creates one: without it, it fails with ErrNoLane.
func (b *Broker) Lane(ctx context.Context, name string) (*Lane, error) {
	if _, err := b.consumerInfo(ctx, name); err != nil {
		return nil, fmt.Errorf("bind lane %s: %w", name, err)
	}
	return &Lane{b: b, name: name}, nil
}

// Run pulls jobs and carries out at most hands of them at once, each by a call of handle on its own goroutine. It never holds
// a job without a free hand, because the lane's AckWait runs from delivery. The hands belong to this Run alone.
//
// When ctx ends it stops pulling, hands back what came and was not started, waits for the running handlers, whose context it
// does not cancel, and returns nil. It survives reconnects, server restarts and a consumer that is paused or
// deleted and made again. It gives up with ErrNoLane when the lane is gone, with ErrPermission when it may not pull,
// and with nats.ErrConnectionClosed.
func (l *Lane) Run(ctx context.Context, hands *Hands, handle HandleFunc) error {
	c := newCrew(context.WithoutCancel(ctx), hands, handle, l.WarmUp)
	defer c.wait()
	backoff := laneBackoff
	for {
		worked, err := newPull(l, c).run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errFewerHands) {
			continue
		}
		if worked {
			backoff = laneBackoff
		}
		if l.b.nc.IsClosed() {
			err = nats.ErrConnectionClosed
		}
		if errors.Is(err, ErrPermission) || errors.Is(err, nats.ErrConnectionClosed) {
			return fmt.Errorf("work on lane %s: %w", l.name, err)
		}
		if l.Trouble != nil {
			l.Trouble(fmt.Errorf("work on lane %s: %w", l.name, err))
		}
		if l.b.awaitConnection(ctx) {
			backoff = laneBackoff
		}
		if !sleep.For(ctx, backoff/2+rand.N(backoff/2)) {
			return nil
		}
		backoff = min(2*backoff, laneMaxBackoff)
		if err := l.confirm(ctx); err != nil {
			return err
		}
	}
}

// awaitConnection blocks while there is no connection, and reports whether it had to.
func (b *Broker) awaitConnection(ctx context.Context) (waited bool) {
	up := b.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer b.nc.RemoveStatusListener(up)
	if b.nc.IsConnected() || b.nc.IsClosed() {
		return false
	}
	select {
	case <-up:
	case <-ctx.Done():
	}
	return true
}

// confirm returns ErrNoLane when the lane is surely gone. Whatever else goes wrong here the next session meets too.
func (l *Lane) confirm(ctx context.Context) error {
	_, err := l.b.consumerInfo(ctx, l.name)
	if !errors.Is(err, ErrNoLane) {
		return nil
	}
	if !sleep.For(ctx, laneSecondLook) {
		return nil
	}
	if _, err = l.b.consumerInfo(ctx, l.name); errors.Is(err, ErrNoLane) {
		return err
	}
	return nil
}
