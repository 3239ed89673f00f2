package broker

import (
	"context"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// WatchConfig says what to watch.
type WatchConfig struct {
	// Filter is a key with wildcards, such as "acme.>" for one provider's records; empty: all records.
	Filter string
	// Once ends the watch when everything that was there has been seen.
	Once bool
	// Found hears how many messages there are to read, before the first of them. Optional.
	Found func(n uint64)
}

// Seen is a record as its headers show it.
type Seen struct {
	Key      string
	Revision uint64
	StoredAt time.Time
	Summary  refresh.Summary
	// Err: refresh.ErrNoSummary, or what is wrong with a header. Summary is then not to be used.
	Err error
	// Gone: the value was deleted; there is no summary.
	Gone bool
}

// WatchRecords delivers the headers of every record, then of every change, in the order of their revisions, and calls
// caughtUp once when what was there at the start has been delivered. A record that changes meanwhile is seen
// at its newer revision, or at both, and perhaps only just after caughtUp.
//
// It returns nil when ctx ends (or, with Once, when it has caught up). Any error means that changes may have been
// missed (ErrWatchLost) or cannot be read: start again and rebuild.
func (b *Broker) WatchRecords(ctx context.Context, cfg WatchConfig, handle func(Seen), caughtUp func()) error {
	f := follow{
		b: b, stream: b.names.TokensStream(), filter: b.recordFilter(cfg.Filter), headersOnly: true, once: cfg.Once,
		found: cfg.Found, caughtUp: caughtUp,
		handle: func(subject string, m stored) error {
			key, _ := b.names.RecordKey(subject) // the stream holds no other subjects
			handle(seen(key, m))
			return nil
		},
	}
	return f.run(ctx)
}

func seen(key string, m stored) Seen {
	s := Seen{Key: key, Revision: m.revision, StoredAt: m.storedAt}
	if s.Gone = m.deleted(); !s.Gone {
		s.Summary, s.Err = refresh.ParseSummary(m.header)
	}
	return s
}

// Records reads every record that matches the filter (as in WatchConfig), values included, in no particular order, and
// ends. fn gets malformed ones with an error that wraps refresh.ErrMalformed and names the key; an error that it
// returns ends the reading and is returned. Deleted keys are left out. It is meant for lists: a record that changes
// meanwhile may come twice, the newer one last, and a replica may answer.
func (b *Broker) Records(ctx context.Context, filter string, fn func(refresh.Stored, error) error) error {
	f := follow{
		b: b, stream: b.names.TokensStream(), filter: b.recordFilter(filter),
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

func (b *Broker) recordFilter(filter string) string {
	if filter == "" {
		return ""
	}
	return b.names.RecordKeySubject(filter)
}
