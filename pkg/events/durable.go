package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Durable calls handle for each event on the events stream, at least once, until ctx ends; then it returns nil. The
// stream remembers under cfg.Durable which events were handled, so that the next call goes on there. A name that does
// not exist is created; one that exists is used as it is, except that its filter follows cfg.Filter. Programs that use
// one name share its events.
//
// An event counts as handled when handle returns nil. After an error it comes again, cfg.RetryDelay later and
// until it is handled, while others go on (but no more than 1,000 events wait unhandled); so events may arrive out of
// order, and what is no news by then is dropped. A message that is no event is reported to cfg.OnError and
// removed from the name's list. A restart of the server, a silent server and a deleted consumer are survived. Durable
// fails when cfg is wrong, when the server refuses at the start, and when the connection is closed.
func Durable(ctx context.Context, js jetstream.JetStream, cfg SubscribeConfig, handle Handler) error {
	cfg = cfg.withDefaults()
	subjects, err := cfg.Names.FilterSubjects(cfg.Filter)
	if err := errors.Join(err, cfg.validateDurable()); err != nil {
		return err
	}
	d := &durable{js: js, cfg: cfg, subjects: subjects, seen: newSeen(seenCredentials), handle: handle}
	err = persist(ctx, js.Conn(), cfg, d.session)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c SubscribeConfig) validateDurable() error {
	name := c.Durable
	ok := name != "" && len(name) <= 64
	for i := range len(name) {
		ok = ok && plain(name[i])
	}
	if !ok {
		return fmt.Errorf("%w: durable %.80q: want 1 to 64 of A-Z, a-z, 0-9, - and _", ErrName, name)
	}
	return nil
}

type durable struct {
	js       jetstream.JetStream
	cfg      SubscribeConfig
	subjects []string
	seen     *seen
	last     time.Time // when the last event that was settled had been stored; zero: none yet
	handle   Handler
}

func (d *durable) session(ctx context.Context, opened func()) error {
	cons, err := d.open(ctx)
	if err != nil {
		return fmt.Errorf("open durable %s: %w", d.cfg.Durable, err)
	}
	msgs, err := pull(cons, d.cfg)
	if err != nil {
		return fmt.Errorf("read durable %s: %w", d.cfg.Durable, err)
	}
	var unhandled []jetstream.Msg
	defer func() { d.release(msgs, unhandled) }()
	opened()
	for {
		msg, err := msgs.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read durable %s: %w", d.cfg.Durable, err)
		}
		if !d.deliver(ctx, msg) {
			unhandled = append(unhandled, msg)
			return ctx.Err()
		}
	}
}

// open binds first, because a subscriber may have the right to use a consumer but not to create one.
func (d *durable) open(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := requestContext(ctx, d.js)
	defer cancel()
	stream := d.cfg.Names.EventsStream()
	cons, err := d.js.Consumer(ctx, stream, d.cfg.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return d.js.CreateConsumer(ctx, stream, d.config())
	}
	if err != nil {
		return nil, err
	}
	cfg := cons.CachedInfo().Config
	if d.selects(filterOf(cfg)) {
		return cons, nil
	}
	setFilter(&cfg, d.subjects)
	return d.js.UpdateConsumer(ctx, stream, cfg)
}

// selects reports whether an existing consumer's filter is ours, in any order; no filter means all subjects.
func (d *durable) selects(existing []string) bool {
	if len(existing) == 0 {
		existing = d.cfg.Names.EventsSubjects()
	}
	return slices.Equal(slices.Sorted(slices.Values(existing)), slices.Sorted(slices.Values(d.subjects)))
}

// config describes a new consumer. BackOff stays unset: the server would add it to the delay of a NAK.
func (d *durable) config() jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:       d.cfg.Durable,
		Description:   "event subscriber",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       d.cfg.AckWait,
		MaxDeliver:    -1,
		DeliverPolicy: jetstream.DeliverNewPolicy,
	}
	switch {
	case !d.last.IsZero(): // somebody deleted it under us, maybe with the stream and its sequence
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &d.last
	case !d.cfg.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &d.cfg.Since
	}
	setFilter(&cfg, d.subjects)
	return cfg
}

// deliver hands one message over and settles it. It reports false when it did not because ctx has ended.
func (d *durable) deliver(ctx context.Context, msg jetstream.Msg) bool {
	if ctx.Err() != nil {
		return false
	}
	settle := d.verdict(ctx, msg)
	if settle == nil {
		return false
	}
	if err := settle(); err != nil {
		d.cfg.OnError(fmt.Errorf("settle event: %w", err)) // it comes again
		return true
	}
	if meta, err := msg.Metadata(); err == nil && meta.Timestamp.After(d.last) {
		d.last = meta.Timestamp
	}
	return true
}

// verdict lets the event be handled and returns the answer for the server, or nil when ctx ended first.
func (d *durable) verdict(ctx context.Context, msg jetstream.Msg) func() error {
	e, err := fromStream(d.cfg.Names, msg)
	if err != nil {
		d.cfg.OnError(err)
		return func() error { return msg.TermWithReason("not an event") }
	}
	if !d.seen.news(e) {
		return msg.Ack
	}
	if err := d.handle(ctx, e); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		d.cfg.OnError(fmt.Errorf("handle event %s: %w", e.ID, err))
		return func() error { return msg.NakWithDelay(d.cfg.RetryDelay) }
	}
	d.seen.handled(e)
	return msg.Ack
}

// release gives the messages back that are here and were not handled, so that they need not time out, and sees
// the answers off. It asks for no more before it gives any back, or the server would send them here again. It is best
// effort: what it does not reach comes again after the AckWait.
func (d *durable) release(msgs jetstream.MessagesContext, unhandled []jetstream.Msg) {
	const patience = time.Second
	msgs.Drain()
	for {
		msg, err := msgs.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			break
		}
		unhandled = append(unhandled, msg)
	}
	for _, msg := range unhandled {
		_ = msg.Nak()
	}
	_ = d.js.Conn().FlushTimeout(patience)
}
