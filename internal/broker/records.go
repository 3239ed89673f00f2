package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

var _ refresh.Store = (*Broker)(nil)

// Get implements refresh.Store: it asks the stream's leader, never a replica.
func (b *Broker) Get(ctx context.Context, c events.Credential) (refresh.Stored, error) {
	key := c.Key()
	m, ok, err := b.last(ctx, b.names.TokensStream(), b.names.RecordKeySubject(key))
	if err != nil {
		return refresh.Stored{}, fmt.Errorf("read record %s: %w", c, err)
	}
	if !ok {
		return refresh.Stored{}, fmt.Errorf("%w: %s", refresh.ErrNotFound, c)
	}
	return readRecord(key, m)
}

// Peek reads a record from whatever server has it, which may be behind: an older record, or none.
func (b *Broker) Peek(ctx context.Context, c events.Credential) (refresh.Stored, error) {
	key := c.Key()
	reply, err := b.request(ctx, &nats.Msg{Subject: b.prefix + "DIRECT.GET." + b.names.TokensStream() + "." + b.names.RecordKeySubject(key)})
	if err != nil {
		return refresh.Stored{}, fmt.Errorf("read record %s: %w", c, err)
	}
	m, err := directly(reply)
	if err != nil {
		return refresh.Stored{}, fmt.Errorf("read record %s: %w", c, err)
	}
	return readRecord(key, m)
}

// Epoch counts the connections: a server that lost power may have lost what it acknowledged before the present one.
func (b *Broker) Epoch() uint64 { return b.nc.Stats().Reconnects }

// directly reads a message that came with its place in the stream as headers.
func directly(msg *nats.Msg) (stored, error) {
	if status := first(msg.Header, "Status"); status != "" {
		return stored{}, fmt.Errorf("%w: %s %s", refresh.ErrNotFound, status, first(msg.Header, "Description"))
	}
	m := stored{header: msg.Header, data: msg.Data}
	var err error
	if m.revision, err = strconv.ParseUint(first(msg.Header, jetstream.SequenceHeader), 10, 64); err != nil {
		return stored{}, fmt.Errorf("read place of message: %w", err)
	}
	if m.storedAt, err = time.Parse(time.RFC3339Nano, first(msg.Header, jetstream.TimeStampHeaer)); err != nil {
		return stored{}, fmt.Errorf("read place of message: %w", err)
	}
	return m, nil
}

// readRecord makes a record of the message under its key. With an error, revision and time stamp are set all the same.
func readRecord(key string, m stored) (refresh.Stored, error) {
	s := refresh.Stored{Revision: m.revision, StoredAt: m.storedAt}
	if m.deleted() {
		return s, fmt.Errorf("%w: %s", refresh.ErrNotFound, key)
	}
	r, err := refresh.DecodeRecord(m.data)
	switch {
	case errors.Is(err, refresh.ErrMalformed):
		return s, fmt.Errorf("key %s: %w", key, err)
	case err != nil:
		return s, fmt.Errorf("%w: key %s: %w", refresh.ErrMalformed, key, err)
	case r.Credential().Key() != key:
		return s, fmt.Errorf("%w: key %s holds the record of %s", refresh.ErrMalformed, key, r.Credential())
	}
	_, err = refresh.ParseSummary(m.header)
	s.Record, s.Headerless = r, err != nil
	return s, nil
}

// Put implements refresh.Store: one conditional publish of value and headers together, never retried.
func (b *Broker) Put(ctx context.Context, w refresh.Write) (uint64, error) {
	c := w.Record.Credential()
	if err := c.Validate(); err != nil {
		return 0, fmt.Errorf("write record: %w", err)
	}
	data, err := w.Record.Encode()
	if err != nil {
		return 0, fmt.Errorf("write record %s: %w", c, err)
	}
	msg := &nats.Msg{Subject: b.names.RecordSubject(c), Header: w.Record.Summary(w.Announce).Header(), Data: data}
	rev, err := b.replace(ctx, msg, w.Revision)
	if err != nil {
		return 0, fmt.Errorf("write record %s: %w", c, err)
	}
	return rev, nil
}
