package events

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// How long Publish goes on when nobody answers for the stream: 2.5 s, a change of its leader and some. A longer
// absence is the caller's to judge.
const (
	publishRetries   = 10
	publishRetryWait = 250 * time.Millisecond
)

// A Publisher tells events. It is safe for concurrent use.
type Publisher struct {
	js    jetstream.JetStream
	names Names
}

// NewPublisher returns a publisher of the events of a namespace.
func NewPublisher(js jetstream.JetStream, names Names) *Publisher {
	return &Publisher{js: js, names: names}
}

// Publish tells e durably: it returns nil only when the events stream has stored e, or knew its id already.
// After any error it is open whether e was told; publishing it again is harmless. Without a deadline in ctx it waits as
// long as the JetStream context's default timeout.
func (p *Publisher) Publish(ctx context.Context, e Event) error {
	msg, err := Encode(p.names, e)
	if err != nil {
		return err
	}
	_, err = p.js.PublishMsg(ctx, msg,
		jetstream.WithMsgID(e.ID),
		jetstream.WithExpectStream(p.names.EventsStream()), // not some other stream on the same subjects
		jetstream.WithRetryAttempts(publishRetries), jetstream.WithRetryWait(publishRetryWait))
	if err != nil {
		return fmt.Errorf("publish event %s: %w", e.ID, err)
	}
	return nil
}
