package enroll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// ErrUntold says that a change is stored and its event could not be published. Nothing is lost: the record announces
// itself, and every scheduler that sees it tells.
var ErrUntold = errors.New("stored, but not told yet")

// Writer changes records on behalf of people. Store is required; Enroll needs all of Keys and the Teller, Tombstone needs
// the Teller.
type Writer struct {
	Store  refresh.Store
	Teller refresh.Teller
	Keys   refresh.Keys
	// Source says in events which process tells, as a URI reference; default freshet/enroll.
	Source string
	// Now is NATS time; default the local clock.
	Now func() time.Time
}

func (w *Writer) now() time.Time {
	if w.Now == nil {
		return time.Now().Round(0).UTC()
	}
	return w.Now().Round(0).UTC()
}

// natsTime turns a local instant into NATS time; zero stays zero.
func (w *Writer) natsTime(local time.Time) time.Time {
	if local.IsZero() || w.Now == nil {
		return local.Round(0).UTC()
	}
	return local.Add(time.Until(w.Now())).Round(0).UTC()
}

// Enroll makes the grant the credential's next generation, and tells. d must be c's provider, with its defaults. Of an
// earlier record the pause, the policy and the numbers survive; of a removed one the numbers. A grant whose account the provider
// named replaces a record only of the same subject, or a withdrawn one.
//
// Errors: ErrTaken, ErrNoRefreshToken, ErrNoTokens, ErrReminted, ErrNoSubject; refresh.ErrMalformed when there is a record that cannot be read, so that its numbers are not
// known; refresh.ErrTooLarge; ErrUntold, with what is stored; anything else means that it is not known whether the
// grant is stored.
func (w *Writer) Enroll(ctx context.Context, d *provider.Definition, c events.Credential, g NewGrant) (refresh.Stored, error) {
	stored, err := w.store(ctx, d, c, g, w.change)
	if err != nil {
		return refresh.Stored{}, err
	}
	return stored, w.tell(ctx, stored)
}

// store makes the grant the credential's next generation, and leaves the telling to whoever sees the write.
func (w *Writer) store(ctx context.Context, d *provider.Definition, c events.Credential, g NewGrant, change changer) (refresh.Stored, error) {
	g, err := checkEnrolment(d, c, g)
	if err != nil {
		return refresh.Stored{}, fmt.Errorf("enrol %s: %w", c, err)
	}
	e := enrolment{writer: w, definition: d, credential: c, grant: g, id: refresh.NewGrantID(), attempt: refresh.NewAttemptID()}
	e.grant.StartedAt = w.natsTime(g.StartedAt)
	stored, err := change(ctx, c, e.edit)
	if errors.Is(err, refresh.ErrTooLarge) && len(e.grant.Meta) > 0 {
		e.grant.Meta = nil
		stored, err = change(ctx, c, e.edit)
	}
	if err != nil {
		return refresh.Stored{}, fmt.Errorf("enrol %s: %w", c, err)
	}
	return stored, nil
}

func checkEnrolment(d *provider.Definition, c events.Credential, g NewGrant) (NewGrant, error) {
	if c.Provider != d.Name {
		return g, fmt.Errorf("it is not a credential of provider %s", d.Name)
	}
	g, err := g.of(d, c.Account)
	return g, errors.Join(err, c.Validate())
}

// enrolment is one call of Enroll. Its ids stay the same however often the write is tried.
type enrolment struct {
	writer     *Writer
	definition *provider.Definition
	credential events.Credential
	grant      NewGrant
	id         string
	attempt    string
}

// edit makes the next generation of what is stored.
func (e *enrolment) edit(cur refresh.Stored) (refresh.Write, error) {
	r := cur.Record
	if r.GrantID == e.id {
		return refresh.Write{}, errDone // an earlier try did it, and a worker may have gone on from there
	}
	if e.grant.derived && r.State != "" && !r.State.Withdrawn() && (r.Subject == "" || r.Subject != e.grant.Identity.Subject) {
		return refresh.Write{}, ErrTaken
	}
	if e.loses(&r) {
		return refresh.Write{}, ErrNoRefreshToken
	}
	t := timesOf(e.credential.Key(), e.definition, e.grant, e.writer.now())
	r.V, r.Provider, r.Account = refresh.SchemaVersion, e.credential.Provider, e.credential.Account
	r.GrantID, r.Generation, r.Version, r.State = e.id, r.Generation+1, r.Version+1, refresh.StateActive
	r.GrantedAt, r.IssuedAt, r.ExpiresAt, r.RefreshAt, r.GrantExpiresAt = t.granted, t.issued, t.expires, t.refresh, t.grantExpires
	r.Claim, r.Doubt, r.Failure = nil, nil, nil
	r.Last = &refresh.Last{Attempt: e.attempt, Outcome: refresh.ClassOK, Reason: events.ReasonEnrolled}
	if r.Narrowed = nil; e.grant.Scopes != nil { // without, it is not known
		r.Narrowed = refresh.Narrowed(e.definition.Scopes, e.grant.Scopes)
	}
	r.Subject = e.grant.Identity.Subject
	r.Scopes, r.TokenType, r.Meta = e.grant.Scopes, cmp.Or(e.grant.TokenType, "Bearer"), e.grant.Meta
	if err := e.writer.Keys.Seal(&r, e.grant.sealed(e.definition), e.grant.AccessToken); err != nil {
		return refresh.Write{}, err
	}
	return refresh.Write{Record: r, Announce: enrolled()}, nil
}

// loses reports whether a refresh token that works, as far as is known, would give way to none.
func (e *enrolment) loses(r *refresh.Record) bool {
	if !e.grant.RefreshToken.IsZero() || e.grant.reminted || r.State != refresh.StateActive && r.State != refresh.StateRetrying {
		return false
	}
	old, err := e.writer.Keys.OpenGrant(r)
	return err == nil && !old.RefreshToken.IsZero() // one that does not open is of no use here
}

// enrolled is what the write of an enrolment stands for.
func enrolled() refresh.Announcement {
	return refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled}
}

// tell publishes the event of what was stored.
func (w *Writer) tell(ctx context.Context, s refresh.Stored) error {
	e := refresh.CurrentEvent(&s, cmp.Or(w.Source, "freshet/enroll"), w.now())
	if err := w.Teller.Publish(ctx, e); err != nil {
		return fmt.Errorf("tell %s of %s: %w: %w", e.Type, s.Record.Credential(), ErrUntold, err)
	}
	return nil
}
