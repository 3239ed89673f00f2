package tokens

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Token is an access token and what is known of it. Printing it shows no token material.
type Token struct {
	Credential  events.Credential
	AccessToken seal.Secret
	TokenType   string    // "Bearer" as a rule
	ExpiresAt   time.Time // zero: it has no end
	Scopes      []string
	// Generation and Version order the tokens of a credential: by Generation, then by Version. They only grow.
	Generation, Version uint64
	// Meta is what else the provider said beside the token, such as instance_url: a JSON object, or nil. It is
	// not secret.
	Meta json.RawMessage

	life time.Duration // from its issue to its end; 0: not known, as of one that was imported, or no end
}

// OAuth2 returns the token in the form that golang.org/x/oauth2 and its users take. Its Extra method finds the
// members of Meta. There is no refresh token in it.
func (t Token) OAuth2() *oauth2.Token {
	out := &oauth2.Token{AccessToken: t.AccessToken.Reveal(), TokenType: t.TokenType, Expiry: t.ExpiresAt}
	var extra map[string]any
	if json.Unmarshal(t.Meta, &extra) != nil || len(extra) == 0 {
		return out
	}
	return out.WithExtra(extra)
}

// early is how long before its end a token counts as ended: the in-memory clock may be a tick behind, and a token
// that ends on its way is of no use.
const early = 500 * time.Millisecond

// usable reports whether the token may be handed out at now.
func (t Token) usable(now time.Time) bool {
	return !t.AccessToken.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt.Add(-early)))
}

// newer reports whether t comes after u.
func (t Token) newer(u Token) bool {
	if t.Generation != u.Generation {
		return t.Generation > u.Generation
	}
	return t.Version > u.Version
}

// reading is what one look at the bucket gave.
type reading struct {
	token     Token // zero where there is none to have
	refreshAt time.Time
	revision  uint64 // 0: no record, or not known
	began     time.Time
	err       error // why there is no token that can be used; nil: there is

	// What an asker for a newer token should know of the record.
	grantID  string
	reauth   bool   // only a person can help
	paused   string // by whom; empty: it is not
	failures int    // attempts that failed since the last success
	class    string // what the latest of them came to
}

// read turns a record into a reading.
func read(keys refresh.Keys, c events.Credential, r *refresh.Record, now time.Time) reading {
	switch {
	case r.Credential() != c:
		return reading{err: fmt.Errorf("%s: %w: it is the record of %s", c, refresh.ErrMalformed, r.Credential())}
	case r.State == refresh.StateRevoked:
		return reading{err: fmt.Errorf("%s: %w", c, ErrRevoked)}
	case r.State.Withdrawn():
		return reading{err: fmt.Errorf("%s: %w: it was removed", c, ErrNotFound)}
	}
	access, err := keys.OpenAccess(r)
	if err != nil {
		return reading{err: err} // names the credential
	}
	t := Token{
		Credential: c, AccessToken: access, TokenType: r.TokenType, ExpiresAt: r.ExpiresAt, Scopes: r.Scopes,
		Generation: r.Generation, Version: r.Version, Meta: r.Meta,
	}
	if !r.ExpiresAt.IsZero() && !r.IssuedAt.IsZero() && refreshed(r) {
		t.life = r.ExpiresAt.Sub(r.IssuedAt)
	}
	out := reading{
		token: t, refreshAt: r.RefreshAt, err: whyUnusable(t, r.State, now),
		grantID: r.GrantID, reauth: r.State == refresh.StateReauthRequired,
	}
	if r.Paused != nil {
		out.paused = cmp.Or(r.Paused.By, "somebody")
	}
	if r.Failure != nil {
		out.failures, out.class = r.Failure.Count, string(r.Failure.Class)
	}
	return out
}

// whyUnusable returns nil for a token that can be handed out.
func whyUnusable(t Token, state refresh.State, now time.Time) error {
	switch {
	case t.usable(now):
		return nil
	case state == refresh.StateReauthRequired:
		return fmt.Errorf("%s: %w", t.Credential, ErrReauthRequired)
	case t.AccessToken.IsZero():
		return fmt.Errorf("%s: %w: there has been none yet", t.Credential, ErrExpired)
	default:
		return fmt.Errorf("%s: %w: it ended at %s", t.Credential, ErrExpired, t.ExpiresAt.UTC().Format(time.RFC3339))
	}
}

// known reports whether there is a token, though it may have ended.
func (r reading) known() bool { return !r.token.AccessToken.IsZero() }

// unanswered reports whether the bucket gave no answer at all.
func (r reading) unanswered() bool { return errors.Is(r.err, ErrUnavailable) }

// refreshed reports whether the token comes from a refresh. Of one that was imported nobody knows how old it was by then, and what is
// left of its life says nothing about that of the next one.
func refreshed(r *refresh.Record) bool {
	return r.Last != nil && r.Last.Outcome == refresh.ClassOK && r.Last.Reason != events.ReasonEnrolled
}
