package enroll

import (
	"cmp"
	"errors"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// ErrNoTokens says that a grant holds neither a refresh token nor an access token.
var ErrNoTokens = errors.New("neither a refresh token nor an access token")

// ErrNoRefreshToken says that a grant cannot be refreshed, and would replace one that can. Some providers give a refresh token at the first
// agreement alone, or only where it is asked for.
var ErrNoRefreshToken = errors.New("there is no refresh token with it, and the one that is stored still works: ask the provider for one (auth_params such as access_type=offline and prompt=consent, or a scope such as offline_access), or revoke the credential first")

// ErrReminted says that a refresh token is of no use: this provider's tokens are asked for anew each time.
var ErrReminted = errors.New("the provider's grant type has no refresh tokens: leave refresh_token out")

// ErrNoSubject says that a grant has a subject whose type knows none.
var ErrNoSubject = errors.New("a subject is for providers with grant jwt_bearer only")

// NewGrant is what an enrolment or an import brings. It needs a refresh token or an access token, or a provider whose grant type
// re-mints, where it may be empty.
type NewGrant struct {
	RefreshToken seal.Secret // empty: the grant cannot be refreshed and ends with its access token, unless it is re-minted
	AccessToken  seal.Secret // empty: a refresh is due at once
	// Subject is for whom tokens are asked with provider.GrantJWTBearer. Empty: the account.
	Subject   string
	TokenType string // empty: Bearer
	Scopes    []string
	// Meta is what else the token endpoint said: a JSON object, not secret, or nil.
	Meta []byte
	// Identity is who agreed, where the provider says so.
	Identity Identity
	// Account is whose grant it is: what the login was told, else what the provider calls the one who agreed.
	Account string

	// StartedAt is when the request for the tokens began, in local time; lifetimes count from it. Zero: not known,
	// as with an import, and taken for now.
	StartedAt time.Time
	// Lifetime is the access token's, as the token endpoint named it; 0: it did not.
	Lifetime time.Duration
	// ExpiresAt is the access token's end where it is known as an instant; it goes before Lifetime.
	ExpiresAt time.Time
	// GrantLifetime is the refresh token's, where the token endpoint names one.
	GrantLifetime time.Duration

	vouched  bool   // the identity is an ID token's
	nonce    string // the ID token's
	derived  bool   // the account is a name of the identity's: it may replace nobody else's grant
	reminted bool   // by the provider's grant type
}

// of holds the grant against its provider, and takes over what the provider decides.
func (g NewGrant) of(d *provider.Definition, account string) (NewGrant, error) {
	g.reminted = d.Grant.Remints()
	switch {
	case g.reminted && !g.RefreshToken.IsZero():
		return g, ErrReminted
	case !g.reminted && g.AccessToken.IsZero() && g.RefreshToken.IsZero():
		return g, ErrNoTokens
	case d.Grant == provider.GrantJWTBearer:
		g.Subject = cmp.Or(g.Subject, account)
	case g.Subject != "":
		return g, ErrNoSubject
	}
	return g, nil
}

// sealed is what of the grant is kept in the record's sealed field.
func (g NewGrant) sealed(d *provider.Definition) refresh.Grant {
	kept := refresh.Grant{RefreshToken: g.RefreshToken, Subject: g.Subject, TokenURL: d.TokenURL}
	if g.reminted {
		kept.Mint = d.Grant
	}
	return kept
}

// times are the instants of a new record.
type times struct {
	granted, issued, expires, refresh, grantExpires time.Time
}

// timesOf says when a new grant's access token was issued, ends and is renewed. It is pure; now and g.StartedAt are in
// NATS time.
func timesOf(key string, d *provider.Definition, g NewGrant, now time.Time) times {
	p := d.Refresh
	t := times{issued: now, granted: g.StartedAt}
	if !g.StartedAt.IsZero() {
		t.issued = g.StartedAt
	}
	t.grantExpires = refresh.GrantEnd(d.RefreshLife, t.granted, t.issued, g.GrantLifetime)
	switch {
	case g.AccessToken.IsZero():
		// As good as an access token that has just ended: there is nothing to lose by a refresh, and it is due.
		t.issued, t.expires, t.refresh = now, now, now
		return t
	case !g.ExpiresAt.IsZero():
		t.expires = earlier(g.ExpiresAt.UTC(), t.issued.Add(p.MaxLifetime.Std()))
		t.issued = earlier(t.issued, t.expires)
		t.refresh = importedRefreshAt(key, p, t, now)
	default:
		if life := refresh.Lifetime(p, g.Lifetime); life > 0 {
			t.expires = t.issued.Add(life)
		}
		t.refresh = refresh.RefreshAt(key, p, t.issued, t.expires)
	}
	if g.RefreshToken.IsZero() && !g.reminted {
		t.refresh = time.Time{}
		t.grantExpires = t.expires // nothing outlives the only token
	}
	return t
}

// importedRefreshAt is refresh.RefreshAt for a token of which only the end is known. The provider's default lifetime
// stands for how long it has lived already, so that lead and jitter are those of its likely whole life and many tokens
// with one end do not come due together; where that moment has passed, those of the rest of its life.
func importedRefreshAt(key string, p provider.Refresh, t times, now time.Time) time.Time {
	left := t.expires.Sub(now)
	if left <= 0 {
		return now
	}
	if usual := refresh.Lifetime(p, 0); usual > left {
		if at := refresh.RefreshAt(key, p, t.expires.Add(-usual), t.expires); at.After(now) {
			return at
		}
	}
	at := refresh.RefreshAt(key, p, now, t.expires)
	if at.Before(now) { // early refresh is refused until a moment that has passed
		return now
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
