package events

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// liveBuffer is how many messages wait for a slow handler before further ones are lost.
const liveBuffer = 16 << 10

// Live calls handle for each event as it is told, until ctx ends; then it returns nil. It uses core NATS: at most
// once, nothing while the connection is down or the handler falls too far behind. What the handler missed that way
// is counted to cfg.OnError as nats.ErrSlowConsumer. An event that is no news is dropped. It fails when cfg is wrong,
// when a subscription is denied (nats.ErrPermissionViolation) and when nc is closed.
func Live(ctx context.Context, nc *nats.Conn, cfg SubscribeConfig, handle func(Event)) error {
	cfg = cfg.withDefaults()
	subjects, err := cfg.Names.FilterSubjects(cfg.Filter)
	if err != nil {
		return err
	}
	l := &live{cfg: cfg, nc: nc, msgs: make(chan *nats.Msg, liveBuffer), seen: newSeen(seenCredentials), handle: handle}
	l.closed = nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(l.closed)
	defer l.unsubscribe()
	if err := l.subscribe(ctx, subjects); err != nil {
		return err
	}
	if ctx.Err() == nil {
		cfg.OnReady()
	}
	return l.listen(ctx)
}

type live struct {
	cfg    SubscribeConfig
	nc     *nats.Conn
	closed chan nats.Status
	msgs   chan *nats.Msg
	subs   []*nats.Subscription
	missed int
	seen   *seen
	handle func(Event)
}

// subscribe returns when the server knows what we want, or ctx has ended.
func (l *live) subscribe(ctx context.Context, subjects []string) error {
	for _, subject := range subjects {
		sub, err := l.nc.ChanSubscribe(subject, l.msgs)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		l.subs = append(l.subs, sub)
	}
	var pause backoff
	for ctx.Err() == nil {
		err := l.flush(ctx)
		switch {
		case err == nil:
			return l.denied()
		case l.nc.IsClosed():
			return fmt.Errorf("subscribe: %w", nats.ErrConnectionClosed)
		}
		l.cfg.OnError(fmt.Errorf("subscribe: %w", err)) // the connection makes up for it when it is back
		pause.wait(ctx)
	}
	return nil
}

func (l *live) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return l.nc.FlushWithContext(ctx)
}

// denied returns the server's refusal of one of the subscriptions: it came before the answer to flush.
func (l *live) denied() error {
	for _, sub := range l.subs {
		if err := violation(l.nc, `"`+sub.Subject+`"`); err != nil {
			return fmt.Errorf("subscribe to %s: %w", sub.Subject, err)
		}
	}
	return nil
}

func (l *live) unsubscribe() {
	for _, sub := range l.subs {
		_ = sub.Unsubscribe() // fails only on a closed connection, which has no subscriptions
	}
}

func (l *live) listen(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.closed:
			return fmt.Errorf("listen: %w", nats.ErrConnectionClosed)
		case msg := <-l.msgs:
			l.deliver(msg)
			l.reportMissed()
		}
	}
	return nil
}

func (l *live) deliver(msg *nats.Msg) {
	e, err := Decode(l.cfg.Names, msg)
	if err != nil {
		l.cfg.OnError(err)
		return
	}
	if l.seen.news(e) {
		l.handle(e)
		l.seen.handled(e)
	}
}

func (l *live) reportMissed() {
	total := 0
	for _, sub := range l.subs {
		n, _ := sub.Dropped() // fails only on a closed connection
		total += n
	}
	if total > l.missed {
		l.cfg.OnError(fmt.Errorf("%d events missed: %w", total-l.missed, nats.ErrSlowConsumer))
		l.missed = total
	}
}
