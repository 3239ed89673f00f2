package enroll

import (
	"context"
	"errors"
	"fmt"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Rewrap seals a record's secrets anew with the primary keys of Keys, one of which may be nil. seen is the record as it
// was read last, perhaps an older one. Everything else stays, an attempt in flight included: its commit finds its
// own claim and goes on. Rewrapped is false where nothing was to do (any more).
//
// Errors: seal.ErrUnknownKey and seal.ErrCorrupt for what does not open, of which nothing was changed; refresh.ErrMalformed;
// refresh.ErrTooLarge; anything else means that it is not known whether the record is rewrapped.
func (w *Writer) Rewrap(ctx context.Context, seen refresh.Stored) (rewrapped bool, err error) {
	c := seen.Record.Credential()
	do := func(cur refresh.Stored) (refresh.Write, error) {
		r := cur.Record
		changed, err := w.Keys.Rewrap(&r)
		switch {
		case err != nil:
			return refresh.Write{}, err
		case !changed:
			return refresh.Write{}, errDone
		}
		rewrapped = true
		return refresh.Write{Record: r, Announce: unannounced(&r)}, nil
	}
	_, done, err := w.write(ctx, seen, do)
	if !done {
		_, err = w.change(ctx, c, do)
	}
	if err != nil {
		return false, fmt.Errorf("rewrap %s: %w", c, err)
	}
	return rewrapped, nil
}

// unannounced is stillToTell for a record that may be marked as revoked.
func unannounced(r *refresh.Record) refresh.Announcement {
	if r.State == refresh.StateRevoked {
		return refresh.Announcement{Type: events.TokenRevoked}
	}
	return stillToTell(r)
}

// OfTheRecord tells whether an error of Rewrap or Restore is of that one record, so that others are not concerned. Any other is of the store.
func OfTheRecord(err error) bool {
	for _, e := range []error{seal.ErrUnknownKey, seal.ErrCorrupt, refresh.ErrMalformed, refresh.ErrTooLarge} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
