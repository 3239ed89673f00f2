package enroll

import (
	"context"
	"fmt"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Restored says what became of a record of a backup.
type Restored string

// What can become of it.
const (
	RestoredAsItWas   Restored = "as it was" // nothing of it can have been spent, or nobody would present it
	RestoredInDoubt   Restored = "in doubt"  // its refresh token may have been spent since
	RestoredWithdrawn Restored = "withdrawn" // it was revoked or deleted since: a tombstone took its place
	RestoredNot       Restored = "kept"      // there is a record already, and it stays
)

// Restore writes a record of a backup where there is none. told is the newest event of the credential that is still known, nil: there
// is none. Keys needs both keysets. Doing it again finds what is there and changes nothing.
//
// Errors: seal.ErrUnknownKey and seal.ErrCorrupt for what does not open; refresh.ErrMalformed where there is a record that cannot be
// read; refresh.ErrTooLarge; anything else means that it is not known whether the record is restored.
func (w *Writer) Restore(ctx context.Context, s refresh.Stored, d *provider.Definition, f refresh.Restoration, told *events.Event) (Restored, error) {
	c := s.Record.Credential()
	if told != nil {
		f.ToldGeneration, f.ToldVersion = told.Data.Generation, told.Data.Version
	}
	next, what, err := w.restored(s, d, f, told)
	if err != nil {
		return "", fmt.Errorf("restore %s: %w", c, err)
	}
	tries := 0
	_, err = w.change(ctx, c, func(cur refresh.Stored) (refresh.Write, error) {
		r := &cur.Record
		if r.State == "" {
			tries++
			return next, nil
		}
		if tries == 0 || r.GrantID != next.Record.GrantID || r.Generation != next.Record.Generation {
			what = RestoredNot // else an earlier try of ours did it after all
		}
		return refresh.Write{}, errDone
	})
	if err != nil {
		return "", fmt.Errorf("restore %s: %w", c, err)
	}
	return what, nil
}

// restored builds the write.
func (w *Writer) restored(s refresh.Stored, d *provider.Definition, f refresh.Restoration, told *events.Event) (refresh.Write, Restored, error) {
	r, err := w.Keys.Restored(s, d, f)
	if err != nil {
		return refresh.Write{}, "", err
	}
	if state := withdrawnSince(&s.Record, told); state != "" {
		tomb, err := bury(refresh.Stored{Record: r}, state)
		return tomb, RestoredWithdrawn, err
	}
	what := RestoredAsItWas
	if r.Doubt != nil {
		what = RestoredInDoubt
	}
	return refresh.Write{Record: r}, what, nil
}

// withdrawnSince is the state of the tombstone that was told of after the backup.
func withdrawnSince(r *refresh.Record, told *events.Event) refresh.State {
	if told == nil || r.State.Withdrawn() || told.Data.Generation < r.Generation {
		return ""
	}
	switch told.Type {
	case events.TokenRevoked:
		return refresh.StateRevoked
	case events.TokenDeleted:
		return refresh.StateDeleted
	default:
		return ""
	}
}
