package enroll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// errDone ends an edit that finds its work done.
var errDone = errors.New("already as it should be")

const (
	// maxTries bounds the tries of one change, the pauses between them double from firstPause to maxPause: together
	// two and a half seconds, which is a change of leader. Conflicts need fewer: workers write rarely.
	maxTries   = 7
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// edit makes the write that a change wants of what is stored: a zero record where there is none. Its errors end
// the change, errDone with what was read.
type edit func(refresh.Stored) (refresh.Write, error)

// changer makes a change of what is stored.
type changer func(ctx context.Context, c events.Credential, do edit) (refresh.Stored, error)

// create is a change that expects no record: it reads only when there is one.
func (w *Writer) create(ctx context.Context, c events.Credential, do edit) (refresh.Stored, error) {
	if stored, done, err := w.write(ctx, refresh.Stored{}, do); done {
		return stored, err
	}
	return w.change(ctx, c, do)
}

// change reads the record, edits it and writes it back, until it is known that the edit is stored.
func (w *Writer) change(ctx context.Context, c events.Credential, do edit) (refresh.Stored, error) {
	var failure error
	pause := firstPause
	for try := range maxTries {
		if try > 0 && !sleep.For(ctx, pause) {
			return refresh.Stored{}, errors.Join(ctx.Err(), failure)
		}
		cur, err := w.read(ctx, c)
		if err != nil && (failure == nil || errors.Is(err, refresh.ErrMalformed)) {
			return refresh.Stored{}, err // nothing was written
		}
		if err == nil {
			stored, done, err := w.write(ctx, cur, do)
			if done {
				return stored, err
			}
			failure = err
		}
		pause = min(2*pause, maxPause)
	}
	return refresh.Stored{}, fmt.Errorf("gave up after %d tries: %w", maxTries, failure)
}

// read returns what is stored, with a zero record where there is none.
func (w *Writer) read(ctx context.Context, c events.Credential) (refresh.Stored, error) {
	cur, err := w.Store.Get(ctx, c)
	switch {
	case errors.Is(err, refresh.ErrNotFound):
		cur.Record = refresh.Record{}
		return cur, nil
	case errors.Is(err, refresh.ErrMalformed):
		return cur, fmt.Errorf("there is a record already: %w", err)
	}
	return cur, err
}

// write makes one try; done means that another one would change nothing.
func (w *Writer) write(ctx context.Context, cur refresh.Stored, do edit) (stored refresh.Stored, done bool, err error) {
	next, err := do(cur)
	if err != nil {
		return cur, true, ignoreDone(err)
	}
	next.Revision = cur.Revision
	revision, err := w.Store.Put(ctx, next)
	if err != nil {
		return refresh.Stored{}, errors.Is(err, refresh.ErrTooLarge), err
	}
	return refresh.Stored{Record: next.Record, Revision: revision}, true, nil
}

func ignoreDone(err error) error {
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// Tombstone withdraws a credential: what is secret or belongs to the grant goes, the grant id and the numbers stay, so that
// nothing in flight can bring it back. state is StateRevoked, which keeps the pause and the policy for the
// next login, or StateDeleted, which keeps neither. A credential that is in that state already is only told again;
// a revoked one can still be deleted, not the other way round.
//
// Errors: refresh.ErrNotFound; refresh.ErrMalformed; ErrUntold, with what is stored; anything else means that it is
// not known whether it is withdrawn.
func (w *Writer) Tombstone(ctx context.Context, c events.Credential, state refresh.State) (refresh.Stored, error) {
	if !state.Withdrawn() {
		return refresh.Stored{}, fmt.Errorf("withdraw %s: state %q is not that of a tombstone", c, state)
	}
	stored, err := w.change(ctx, c, func(cur refresh.Stored) (refresh.Write, error) { return bury(cur, state) })
	if err != nil {
		return refresh.Stored{}, fmt.Errorf("withdraw %s: %w", c, err)
	}
	return stored, w.tell(ctx, stored)
}

// bury makes a tombstone of a record.
func bury(cur refresh.Stored, state refresh.State) (refresh.Write, error) {
	r := cur.Record
	switch {
	case r.State == "", r.State == refresh.StateDeleted && state != refresh.StateDeleted:
		return refresh.Write{}, refresh.ErrNotFound
	case r.State == state && len(r.Grant)+len(r.Access) == 0:
		return refresh.Write{}, errDone
	}
	if state == refresh.StateDeleted {
		r.Paused, r.Policy = nil, nil
	}
	r.V, r.State = refresh.SchemaVersion, state
	r.Claim, r.Doubt, r.Failure, r.Last = nil, nil, nil, nil
	r.Access, r.Grant, r.Meta, r.Scopes, r.Narrowed, r.TokenType, r.Subject = nil, nil, nil, nil, nil, "", ""
	r.GrantedAt, r.IssuedAt, r.ExpiresAt, r.RefreshAt, r.GrantExpiresAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	kind := events.TokenRevoked
	if state == refresh.StateDeleted {
		kind = events.TokenDeleted
	}
	return refresh.Write{Record: r, Announce: refresh.Announcement{Type: kind}}, nil
}

// SetPaused pauses a credential's refreshes, or lifts its pause when p is nil. Everything else in the record stays, an
// attempt in flight included.
//
// Errors: refresh.ErrNotFound, also for a withdrawn credential; refresh.ErrMalformed; anything else means that it is
// not known whether the pause is set.
func (w *Writer) SetPaused(ctx context.Context, c events.Credential, p *provider.Pause) (refresh.Stored, error) {
	stored, err := w.change(ctx, c, func(cur refresh.Stored) (refresh.Write, error) { return setPaused(cur, p) })
	if err != nil {
		return refresh.Stored{}, fmt.Errorf("pause or resume %s: %w", c, err)
	}
	return stored, nil
}

func setPaused(cur refresh.Stored, p *provider.Pause) (refresh.Write, error) {
	r := cur.Record
	switch {
	case r.State == "" || r.State.Withdrawn():
		return refresh.Write{}, refresh.ErrNotFound
	case samePause(r.Paused, p):
		return refresh.Write{}, errDone
	}
	r.Paused = p
	return refresh.Write{Record: r, Announce: stillToTell(&r)}, nil
}

// stillToTell is the announcement that a write over this record must carry on: an enrolment's author may have died
// before telling, and no job covers it. Telling again does no harm.
func stillToTell(r *refresh.Record) refresh.Announcement {
	if r.Last != nil && r.Last.Reason == events.ReasonEnrolled && r.Failure == nil {
		return enrolled()
	}
	return refresh.Announcement{}
}

func samePause(a, b *provider.Pause) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.By == b.By && a.Reason == b.Reason && a.Until.Equal(b.Until)
}
