package broker

import (
	"context"
	"fmt"
	"strings"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// Sweep reads every record at least once, those included that change while it reads, and returns when nothing was written
// since its last look, or after maxSweeps looks. fn is called as Records calls it, and may block; a record that was
// written meanwhile comes again. after is called at the end of each look, when fn has returned for all that it brought;
// an error of either ends the sweep and is returned.
//
// One reading alone may miss a record: one that is written while it goes on moves to the end of the stream, behind others that
// were read already.
func (b *Broker) Sweep(ctx context.Context, fn func(refresh.Stored, error) error, after func() error) error {
	done := uint64(0)
	for range maxSweeps {
		last, err := b.lastRevision(ctx)
		if err != nil {
			return fmt.Errorf("read all records: %w", err)
		}
		if last == done {
			return nil
		}
		if err := b.recordsAfter(ctx, done, fn); err != nil {
			return err
		}
		if err := after(); err != nil {
			return err
		}
		done = last
	}
	return nil
}

// maxSweeps bounds the looks of a sweep over a fleet that never rests. The second one has what was written during the first, and so
// on: each is a small part of the one before.
const maxSweeps = 4

// lastRevision is that of the newest record.
func (b *Broker) lastRevision(ctx context.Context) (uint64, error) {
	var r struct {
		apiReply
		State struct {
			LastSeq uint64 `json:"last_seq"`
		} `json:"state"`
	}
	err := b.api(ctx, "STREAM.INFO."+b.names.TokensStream(), nil, &r)
	return r.State.LastSeq, err
}

func (b *Broker) recordsAfter(ctx context.Context, revision uint64, fn func(refresh.Stored, error) error) error {
	f := follow{
		b: b, stream: b.names.TokensStream(), after: revision,
		handle: func(subject string, m stored) error {
			if m.deleted() {
				return nil
			}
			key, _ := b.names.RecordKey(subject)
			return fn(readRecord(key, m))
		},
	}
	return f.read(ctx)
}

// Enrollments reads every entry of the bucket of enrolments that has not ended, its value sealed as it is.
func (b *Broker) Enrollments(ctx context.Context, fn func(key string, value []byte)) error {
	head := b.names.EnrollmentSubject("")
	f := follow{
		b: b, stream: b.names.EnrollmentsStream(),
		handle: func(subject string, m stored) error {
			if !m.deleted() {
				fn(strings.TrimPrefix(subject, head), m.data)
			}
			return nil
		},
	}
	return f.read(ctx)
}
