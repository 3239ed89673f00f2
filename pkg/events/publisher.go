package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/sleep"
)

// How long Publish goes on when nobody answers for the stream: 2.5 s, a change of its leader and some. A longer
// absence is the caller's to judge.
const (
	publishRetries   = 10
	publishRetryWait = 250 * time.Millisecond
)

// Store stores one message in the stream that its headers expect, or finds that it is there already. An error that wraps
// nats.ErrNoResponders means that nobody answered for the stream.
type Store func(ctx context.Context, msg *nats.Msg) error

// A Publisher tells events. It is safe for concurrent use.
type Publisher struct {
	store Store
	names Names
}

// NewPublisher returns a publisher of the events of a namespace.
func NewPublisher(js jetstream.JetStream, names Names) *Publisher {
	return NewPublisherTo(func(ctx context.Context, msg *nats.Msg) error {
		_, err := js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
		return err
	}, names)
}

// NewPublisherTo returns a publisher that stores messages as it is told.
func NewPublisherTo(store Store, names Names) *Publisher {
	return &Publisher{store: store, names: names}
}

// Publish tells e durably: it returns nil only when the events stream has stored e, or knew its id already.
// After any error it is open whether e was told; publishing it again is harmless. Without a deadline in ctx it waits as
// long as the JetStream context's default timeout for each answer.
func (p *Publisher) Publish(ctx context.Context, e Event) error {
	msg, err := Encode(p.names, e)
	if err != nil {
		return err
	}
	msg.Header[jetstream.ExpectedStreamHeader] = []string{p.names.EventsStream()} // not some other stream on the same subjects
	for range publishRetries {
		if err = p.store(ctx, msg); !nobodyAnswered(err) || !sleep.For(ctx, publishRetryWait) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("publish event %s: %w", e.ID, err)
	}
	return nil
}

func nobodyAnswered(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}
