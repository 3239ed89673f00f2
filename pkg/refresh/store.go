package refresh

import (
	"context"
	"errors"

	"github.com/freshetdev/freshet/pkg/events"
)

// Errors of a Store.
var (
	// ErrNotFound: there is no record under this name.
	ErrNotFound = errors.New("credential not found")
	// ErrConflict: the record is not at the revision the write was conditional on.
	ErrConflict = errors.New("record has changed")
	// ErrMalformed: the record is there and cannot be read.
	ErrMalformed = errors.New("record cannot be read")
	// ErrTooLarge: the record is larger than the store takes.
	ErrTooLarge = errors.New("record too large")
)

// Write is one conditional write of a record.
type Write struct {
	Record Record
	// Revision the record must have now; 0: there must be none.
	Revision uint64
	// Announce makes every scheduler that sees the write tell it; zero when a job covers it.
	Announce Announcement
}

// Store keeps the records. Implementations MUST read what the leader holds and MUST write by compare-and-set
// on the revision.
type Store interface {
	// Get returns the record. Errors: ErrNotFound, where Stored.Revision is still what a write must name
	// (a deleted key leaves a marker); ErrMalformed, likewise with the revision; anything else means
	// that the store could not be asked.
	Get(ctx context.Context, c events.Credential) (Stored, error)
	// Put writes the record and returns its new revision. Errors: ErrConflict and ErrTooLarge mean that nothing was
	// written; anything else leaves it unknown, and only Get can tell.
	Put(ctx context.Context, w Write) (revision uint64, err error)
}

// Teller publishes events durably. It returns nil only when the event is stored; telling the same id
// again is harmless.
type Teller interface {
	Publish(ctx context.Context, e events.Event) error
}
