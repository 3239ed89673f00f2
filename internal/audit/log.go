package audit

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

// within bounds how long an act waits for its entry. Between a provider's answer and its place in a record every second is a risk, and
// a NATS that does not answer by then would not take the record either.
const within = 3 * time.Second

// Config says who writes. Store is required.
type Config struct {
	// Store stores a message in the audit stream, as broker.Broker.StoreAudit does.
	Store func(context.Context, *nats.Msg) error
	Names events.Names
	// NoStream is the error of Store where there is no audit stream, of which Warn hears once.
	NoStream error
	// Source names the process in entries, as in events; default freshet/cli.
	Source string
	Actor  Actor
	// Warn hears of entries that are not written. It must not block. nil: nobody does.
	Warn func(error)
}

// Log writes entries. A nil *Log writes none.
type Log struct {
	cfg  Config
	told atomic.Bool // that there is no stream
}

// New returns a Log.
func New(cfg Config) *Log {
	cfg.Source = cmp.Or(cfg.Source, "freshet/cli")
	if cfg.Warn == nil {
		cfg.Warn = func(error) {}
	}
	return &Log{cfg: cfg}
}

// Note writes an entry, before what it speaks of is done, and returns its id. Where it cannot, Warn hears of it, the id is empty, and the
// caller goes on. It takes a few seconds at most.
func (l *Log) Note(ctx context.Context, e Entry) (id string) {
	if l == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	id, err := l.write(ctx, e)
	if err != nil {
		l.warn(err)
		return ""
	}
	return id
}

// write stores an entry.
func (l *Log) write(ctx context.Context, e Entry) (id string, err error) {
	e.ID, e.Source, e.Data.Actor = cmp.Or(e.ID, rand.Text()), l.cfg.Source, l.cfg.Actor
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	msg, err := e.encode(l.cfg.Names)
	if err == nil {
		err = l.cfg.Store(ctx, msg)
	}
	if err != nil {
		return "", fmt.Errorf("write audit entry %s %s: %w", e.Action, e.Subject(), err)
	}
	return e.ID, nil
}

// warn says why an entry is not written, and of a missing stream once only.
func (l *Log) warn(err error) {
	if l.noStream(err) && l.told.Swap(true) {
		return
	}
	l.cfg.Warn(fmt.Errorf("not written down who does this: %w", err))
}

// noStream reports whether nothing is written here at all.
func (l *Log) noStream(err error) bool {
	return l.cfg.NoStream != nil && errors.Is(err, l.cfg.NoStream)
}
