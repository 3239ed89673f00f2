package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// PublishJob queues a job for the credential under key. slot is the rate slot that it takes (provider.Rate.Slot), "" where the
// provider has no rate. It fails with ErrQueued while another job for the credential is queued or in flight, and
// with ErrSlotTaken when the slot is spent; after any other error the job may be queued or not.
func (b *Broker) PublishJob(ctx context.Context, key string, job refresh.Job, slot string) error {
	msg := &nats.Msg{Subject: b.names.JobKeySubject(key), Data: job.Encode()}
	if slot != "" || job.Trace.Parent != "" {
		msg.Header = make(nats.Header, 2)
		job.Trace.Write(msg.Header)
	}
	if slot != "" {
		msg.Header[jetstream.MsgIDHeader] = []string{slot}
	}
	ack, err := b.publish(ctx, msg)
	switch {
	case hasCode(err, codeMaxMsgsPerSubject):
		return fmt.Errorf("%w: %s", ErrQueued, key)
	case hasCode(err, codeDuplicateInFlight), err == nil && ack.Duplicate:
		return fmt.Errorf("%w: %s", ErrSlotTaken, slot)
	case err != nil:
		return fmt.Errorf("queue job for %s: %w", key, err)
	}
	return nil
}

// Demand queues a job that somebody waits for, within the provider's rate: where a slot is taken it waits for the next.
// ErrQueued means that a job is there already, which may ask for less: the caller tries again until the version it
// wants, or a failure, appears.
func (b *Broker) Demand(ctx context.Context, c events.Credential, job refresh.Job, rate provider.Rate) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("demand a refresh: %w", err)
	}
	if rate == 0 {
		return b.PublishJob(ctx, c.Key(), job, "")
	}
	for {
		slot, next := rate.Slot(c.Provider, b.Now())
		err := b.PublishJob(ctx, c.Key(), job, slot)
		if !errors.Is(err, ErrSlotTaken) {
			return err
		}
		if !sleep.For(ctx, next.Sub(b.Now())) {
			return fmt.Errorf("wait for a rate slot of %s: %w", c.Provider, ctx.Err())
		}
	}
}
