package audit

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

// Filter says which entries are wanted. The zero value wants all.
type Filter struct {
	Since    time.Time // in NATS time
	Action   Action    // empty: all
	Provider string    // empty: all
	Account  string    // empty: all of the provider
	Refs     []string  // entries that refer to one of these; nil: all
}

func (f Filter) takes(e Entry) bool {
	d := e.Data
	switch {
	case f.Action != "" && f.Action != e.Action,
		f.Provider != "" && f.Provider != d.Provider,
		f.Account != "" && f.Account != d.Account:
		return false
	}
	return f.Refs == nil || slices.Contains(f.Refs, d.RefreshTokenRef) || slices.Contains(f.Refs, d.AccessTokenRef)
}

// Source hands over the messages of the audit stream since an instant, oldest first, as broker.Broker.ReadAudit does.
type Source func(ctx context.Context, since time.Time, each func(*nats.Msg) error) error

// Read calls each for the entries that a filter wants, oldest first. A message that is no entry is reported to fault and passed over.
// Errors: the source's, and what each fails with.
func Read(ctx context.Context, from Source, names events.Names, f Filter, each func(Entry) error, fault func(error)) error {
	return from(ctx, f.Since, func(msg *nats.Msg) error {
		e, err := Decode(names, msg)
		switch {
		case err != nil:
			fault(err)
			return nil
		case !f.takes(e):
			return nil
		}
		return each(e)
	})
}
