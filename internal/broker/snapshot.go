package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/events"
)

const (
	// snapshotChunk is what a snapshot and its restoration carry in one message: far below the usual limit of a megabyte.
	snapshotChunk = 128 << 10
	// snapshotWindow is how much of a snapshot is on its way at most.
	snapshotWindow = 4 << 20
	// snapshotStall is how long a snapshot may stand still before it counts as broken.
	snapshotStall = 30 * time.Second
	// snapshotCheck is how long a server may take over all messages of a stream: before the first byte of a snapshot it compares their
	// checksums, after the last one of a restoration it puts them in their places. A million take it seconds.
	snapshotCheck = 10 * time.Minute
)

// ErrSnapshot: a snapshot broke off or cannot be read.
var ErrSnapshot = errors.New("snapshot failed")

// Snapshot writes a snapshot of a stream to w, as it is at one moment, consumers left out, and returns how many
// messages it has. The server compares the checksums of all messages first.
func (b *Broker) Snapshot(ctx context.Context, stream string, w io.Writer) (messages uint64, err error) {
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return 0, fmt.Errorf("snapshot %s: subscribe: %w", stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	var r struct {
		apiReply
		State struct {
			Messages uint64 `json:"messages"`
		} `json:"state"`
	}
	err = b.apiWithin(ctx, snapshotCheck, "STREAM.SNAPSHOT."+stream, map[string]any{
		"deliver_subject": inbox, "no_consumers": true, "chunk_size": snapshotChunk, "window_size": snapshotWindow, "jsck": true,
	}, &r)
	if err != nil {
		return 0, fmt.Errorf("snapshot %s: %w", stream, err)
	}
	for done := false; !done; {
		if done, err = nextChunk(ctx, sub, w); err != nil {
			return 0, fmt.Errorf("snapshot %s: %w", stream, err)
		}
	}
	return r.State.Messages, nil
}

// nextChunk takes one message of a snapshot. The last one is empty and says whether the snapshot is whole.
func nextChunk(ctx context.Context, sub *nats.Subscription, w io.Writer) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotStall)
	defer cancel()
	msg, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if len(msg.Data) == 0 {
		if status := first(msg.Header, "Status"); status != "" && status != "204" {
			return false, fmt.Errorf("%w: %s %s", ErrSnapshot, status, first(msg.Header, "Description"))
		}
		return true, nil
	}
	if _, err := w.Write(msg.Data); err != nil {
		return false, err
	}
	if msg.Reply == "" {
		return false, nil
	}
	return false, msg.Respond(nil)
}

// RestoreTokens makes the records' stream from a snapshot. There must be none. It is meant for a server of one's own, where nobody
// takes the records for those in force: see package backup.
func (b *Broker) RestoreTokens(ctx context.Context, r io.Reader) error {
	n := b.names
	return b.restoreStream(ctx, bucket(n.TokensStream(), n.TokensBucket(), "", 1), r)
}

// RestoreProviders is RestoreTokens for the providers.
func (b *Broker) RestoreProviders(ctx context.Context, r io.Reader) error {
	n := b.names
	return b.restoreStream(ctx, bucket(n.ProvidersStream(), n.ProvidersBucket(), "", 1), r)
}

func (b *Broker) restoreStream(ctx context.Context, cfg jetstream.StreamConfig, r io.Reader) error {
	var begun struct {
		apiReply
		DeliverSubject string `json:"deliver_subject"`
	}
	err := b.api(ctx, "STREAM.RESTORE."+cfg.Name, map[string]any{"config": cfg, "state": struct{}{}}, &begun)
	if err != nil {
		return fmt.Errorf("restore %s: %w", cfg.Name, err)
	}
	chunk := make([]byte, snapshotChunk)
	for {
		n, err := io.ReadFull(r, chunk)
		if n > 0 {
			if err := b.sendChunk(ctx, snapshotStall, begun.DeliverSubject, chunk[:n]); err != nil {
				return fmt.Errorf("restore %s: %w", cfg.Name, err)
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			// An empty message ends it; the answer comes when everything is in its place.
			if err := b.sendChunk(ctx, snapshotCheck, begun.DeliverSubject, nil); err != nil {
				return fmt.Errorf("restore %s: %w", cfg.Name, err)
			}
			return nil
		case err != nil:
			return fmt.Errorf("restore %s: %w", cfg.Name, err)
		}
	}
}

// sendChunk sends a part of a snapshot and waits until it was taken.
func (b *Broker) sendChunk(ctx context.Context, within time.Duration, subject string, chunk []byte) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	reply, err := b.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Data: chunk})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if len(reply.Data) == 0 {
		return nil
	}
	var r apiReply
	if err := json.Unmarshal(reply.Data, &r); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if r.Error != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, r.Error)
	}
	return nil
}

// LastTold returns the newest event of a credential that the events' stream still has; ok is false when there is none.
func (b *Broker) LastTold(ctx context.Context, c events.Credential) (e events.Event, ok bool, err error) {
	m, ok, err := b.last(ctx, b.names.EventsStream(), b.names.EventSubject("token.*", c))
	if err != nil || !ok {
		return events.Event{}, false, err
	}
	e, err = events.Decode(b.names, &nats.Msg{Subject: m.subject, Header: m.header, Data: m.data})
	if err != nil {
		return events.Event{}, false, fmt.Errorf("read the last event of %s: %w", c, err)
	}
	return e, true, nil
}
