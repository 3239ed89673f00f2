package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// replayIdle is how long a replay waits for a message before it asks the server whether one got lost.
const replayIdle = 2 * time.Second

// Replay calls handle for each event that the events stream has kept since cfg.Since, in the order in which they
// were stored, and returns nil after the last one that was there when Replay began. With cfg.Follow it goes on with
// what is told from then on, until ctx ends. An event that is no news is dropped; a message that is no event is
// reported to cfg.OnError and passed over. Nothing is remembered on the server. A restart of the server is survived.
// Replay fails with what handle fails with, when cfg is wrong, when the server refuses at the start, when the connection
// is closed, and, unless it follows, when ctx ends before the history does.
func Replay(ctx context.Context, js jetstream.JetStream, cfg SubscribeConfig, handle Handler) error {
	cfg = cfg.withDefaults()
	subjects, err := cfg.Names.FilterSubjects(cfg.Filter)
	if err != nil {
		return err
	}
	r := &replay{js: js, cfg: cfg, subjects: subjects, seen: newSeen(seenCredentials), handle: handle}
	err = persist(ctx, js.Conn(), cfg, r.session)
	if cfg.Follow && ctx.Err() != nil {
		return nil
	}
	return err
}

type replay struct {
	js       jetstream.JetStream
	cfg      SubscribeConfig
	subjects []string
	seen     *seen
	begun    bool
	left     uint64 // messages of the history that are still to come, once begun
	next     uint64 // stream sequence behind the last message; 0: none yet
	doubt    uint64 // where the last check saw a gap that may have been a message on its way; 0: nowhere
	handle   Handler
}

// errGap says that a message did not arrive, sent or not; the next session asks for it again.
var errGap = errors.New("messages lost on the way, reading them again")

func (r *replay) session(ctx context.Context, opened func()) error {
	cons, err := r.open(ctx)
	if err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	defer r.discard(cons)
	msgs, err := pull(cons, r.cfg)
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	defer msgs.Stop()
	opened()
	for got := uint64(0); r.cfg.Follow || r.left > 0; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		msg, err := nextWithin(ctx, msgs, replayIdle)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = r.check(ctx, cons, got)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		got++
		if err := r.deliver(ctx, msg, got); err != nil {
			return err
		}
	}
	return nil
}

// open makes a consumer of our own that asks for no acks: it sends in order, and a gap in its count shows what
// got lost.
func (r *replay) open(ctx context.Context) (jetstream.Consumer, error) {
	cfg := jetstream.ConsumerConfig{
		Description:       "event replay",
		AckPolicy:         jetstream.AckNonePolicy,
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 5 * time.Minute,
	}
	switch {
	case r.next > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.next
	case !r.cfg.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.cfg.Since
	}
	setFilter(&cfg, r.subjects)
	ctx, cancel := requestContext(ctx, r.js)
	defer cancel()
	cons, err := r.js.CreateConsumer(ctx, r.cfg.Names.EventsStream(), cfg)
	if err != nil {
		return nil, err
	}
	pending := cons.CachedInfo().NumPending
	if !r.begun {
		r.begun, r.left = true, pending
	}
	r.left = min(r.left, pending) // the stream may have dropped some meanwhile
	r.doubt = 0
	return cons, nil
}

func nextWithin(ctx context.Context, msgs jetstream.MessagesContext, d time.Duration) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return msgs.Next(jetstream.NextContext(ctx))
}

// check asks whether the silence is one: got is how many messages arrived from this consumer. Only when it is
// asked twice in the same place does it take a missing message for lost, or our request for those that wait there: a node
// of a cluster that goes takes requests with it, and the client library's own watch begins anew with each wait.
func (r *replay) check(ctx context.Context, cons jetstream.Consumer, got uint64) error {
	ctx, cancel := requestContext(ctx, r.js)
	defer cancel()
	info, err := cons.Info(ctx)
	if err != nil {
		return err
	}
	missing := info.Delivered.Consumer != got || info.NumPending > 0
	switch {
	case missing && r.doubt == got+1:
		return errGap
	case missing:
		r.doubt = got + 1
	default: // the rest of the history was dropped before we came to it
		r.left = 0
	}
	return nil
}

// deliver hands over the message that must be the got-th of its consumer.
func (r *replay) deliver(ctx context.Context, msg jetstream.Msg, got uint64) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	if meta.Sequence.Consumer != got {
		return fmt.Errorf("read history: %w", errGap)
	}
	r.next = meta.Sequence.Stream + 1
	r.left -= min(r.left, 1)
	e, err := fromStream(r.cfg.Names, msg)
	if err != nil {
		r.cfg.OnError(err)
		return nil
	}
	if !r.seen.news(e) {
		return nil
	}
	if err := r.handle(ctx, e); err != nil {
		return &handlerError{err}
	}
	r.seen.handled(e)
	return nil
}

// discard removes the consumer. Where it cannot, the server does after the InactiveThreshold.
func (r *replay) discard(cons jetstream.Consumer) {
	if !r.js.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.js.DeleteConsumer(ctx, r.cfg.Names.EventsStream(), cons.CachedInfo().Name)
}
