package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/events"
)

// auditDedupWindow is how long storing the same entry again is harmless.
const auditDedupWindow = 2 * time.Minute

// audit is the stream of who did what. No client can delete a message of it or purge it, and no update of the stream can
// allow that again (nats-server refuses to cancel either).
func audit(n events.Names, age time.Duration, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: n.AuditStream(), Description: "Who did what",
		Subjects: []string{n.AuditSubjects()}, Replicas: replicas, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: -1, Discard: jetstream.DiscardOld, Compression: jetstream.S2Compression,
		DenyDelete: true, DenyPurge: true, MaxAge: max(0, cmp.Or(age, DefaultAuditMaxAge)), Duplicates: auditDedupWindow,
	}
}

// auditRetry is the wait before an entry for which nobody answered is stored once more: a stream that changes its leader
// is away for a moment, one that is missing stays away.
const auditRetry = 300 * time.Millisecond

// StoreAudit stores an entry in the audit stream, and returns when it is stored. Error beside those of any request: ErrNotSetUp where
// there is no such stream.
func (b *Broker) StoreAudit(ctx context.Context, msg *nats.Msg) error {
	msg.Header[jetstream.ExpectedStreamHeader] = []string{b.names.AuditStream()} // not some other stream on the same subjects
	_, err := b.publish(ctx, msg)
	if errors.Is(err, nats.ErrNoResponders) && sleep.For(ctx, auditRetry) {
		_, err = b.publish(ctx, msg)
	}
	if errors.Is(err, nats.ErrNoResponders) || hasCode(err, jetstream.JSErrCodeStreamNotFound, codeStreamNotMatch) {
		return fmt.Errorf("%w: no stream %s: run %q", ErrNotSetUp, b.names.AuditStream(), "freshet setup")
	}
	return err
}

// ReadAudit hands over the entries that were stored since an instant of NATS time, oldest first, and returns after the last one that
// was there. Errors: what each fails with; ErrNotSetUp; ErrWatchLost when one may have been missed.
func (b *Broker) ReadAudit(ctx context.Context, since time.Time, each func(*nats.Msg) error) error {
	f := &follow{b: b, stream: b.names.AuditStream(), since: since, handle: func(subject string, m stored) error {
		return each(&nats.Msg{Subject: subject, Header: m.header, Data: m.data})
	}}
	return f.read(ctx)
}

// HasAudit reports whether there is an audit stream.
func (b *Broker) HasAudit(ctx context.Context) (bool, error) {
	_, err := b.streamConfig(ctx, b.names.AuditStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	return err == nil, err
}
