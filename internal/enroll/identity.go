package enroll

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

var (
	// ErrNoAccount: no account was given, and the provider does not say whose grant it is.
	ErrNoAccount = errors.New("the provider does not say which account this is")
	// ErrTaken: a grant whose account the provider named would replace one that is not known to be the same person's.
	ErrTaken = errors.New("the account that the provider names is there already, and is not known to be the same person's")
	// ErrForeignIDToken: the ID token was made by another issuer, for another client, or has expired.
	ErrForeignIDToken = errors.New("the ID token is not for this login")
)

// Identity is who agreed, in the provider's words. Its zero value is nobody known. It is not token material, but personal.
type Identity struct {
	Username string // preferred_username, or what the provider has in its place
	Email    string // empty unless the provider says that it has verified it
	Subject  string // sub: the only one that never changes hands (OpenID Connect Core section 5.7)
}

// Known reports whether the provider said who it was.
func (i Identity) Known() bool { return i != Identity{} }

// subjectOnly reports whether nothing but the subject is known.
func (i Identity) subjectOnly() bool { return i == Identity{Subject: i.Subject} }

// Account is what to call the account when nobody gave it a name: the username, else the email address, else the subject.
func (i Identity) Account() string { return cmp.Or(i.Username, i.Email, i.Subject) }

// Is reports whether name is one of the identity's own, or an account whose last segment is: acme/alice@example.com is
// alice@example.com of the tenant acme. Letter case counts, but for email addresses.
func (i Identity) Is(name string) bool {
	last := name[strings.LastIndexByte(name, '/')+1:]
	return i.has(name) || i.has(last)
}

// ParseIdentity reads which of its names an identity is asked by (sub, email or name; "": any) and the name itself.
func ParseIdentity(asked string) (kind, name string) {
	if kind, name, ok := strings.Cut(asked, ":"); ok && (kind == "sub" || kind == "email" || kind == "name") {
		return kind, name
	}
	return "", asked
}

// Shows reports whether the identity is the one that is asked for, as ParseIdentity reads it. Only with a kind can nobody pass for
// another by taking, as a username, what is the other's subject.
func (i Identity) Shows(asked string) bool {
	kind, name := ParseIdentity(asked)
	switch kind {
	case "sub":
		return name != "" && name == i.Subject
	case "email":
		return name != "" && strings.EqualFold(name, i.Email)
	case "name":
		return name != "" && name == i.Username
	}
	return i.has(name)
}

// has reports whether name is any of the identity's own.
func (i Identity) has(name string) bool {
	return name != "" && (name == i.Username || name == i.Subject || strings.EqualFold(name, i.Email))
}

// claims are the members of ID tokens (OpenID Connect Core section 2), of userinfo answers (section 5.1), and of the answers of
// providers that know neither.
type claims struct {
	Issuer        string   `json:"iss"`
	Audience      audience `json:"aud"`
	Expires       float64  `json:"exp"`
	Subject       string   `json:"sub"`
	Username      string   `json:"preferred_username"`
	Email         string   `json:"email"`
	EmailVerified *flag    `json:"email_verified"`
	Login         string   `json:"login"` // GitHub
	User          string   `json:"username"`
	UserID        text     `json:"user_id"`
	ID            text     `json:"id"`
}

// identity reads the claims in a fixed order of names.
func (c claims) identity() Identity {
	i := Identity{
		Username: cmp.Or(c.Username, c.Login, c.User),
		Email:    c.Email,
		Subject:  cmp.Or(c.Subject, string(c.UserID), string(c.ID)),
	}
	if c.EmailVerified == nil || !bool(*c.EmailVerified) {
		i.Email = "" // whoever made the account could have written any address there
	}
	return i
}

// audience is one text or a list of them (RFC 7519 section 4.1.3).
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// flag is a boolean that some providers send as a text.
type flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *flag) UnmarshalJSON(data []byte) error {
	*f = flag(strings.Trim(string(data), `"`) == "true")
	return nil
}

// text is an identifier that some providers send as a number. Anything else counts as missing.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	var n json.Number
	switch {
	case json.Unmarshal(data, &s) == nil:
		*t = text(s)
	case json.Unmarshal(data, &n) == nil:
		*t = text(n)
	}
	return nil
}

// identityOf reads from the token endpoint's answer who agreed: from the ID token, else from the answer's own members.
func identityOf(d *provider.Definition, r refresh.Reply, now time.Time) (Identity, error) {
	if !r.IDToken.IsZero() {
		return identityOfIDToken(d, r.IDToken, now)
	}
	var c claims
	if r.Meta == nil || json.Unmarshal(r.Meta, &c) != nil {
		return Identity{}, nil
	}
	return c.identity(), nil
}

// identified adds to a grant who gave it.
func identified(d *provider.Definition, r refresh.Reply, g NewGrant) (NewGrant, error) {
	who, err := identityOf(d, r, time.Now())
	g.Identity, g.vouched = who, !r.IDToken.IsZero()
	return g, err
}

// clockSlack forgives a provider's clock.
const clockSlack = 5 * time.Minute

// identityOfIDToken reads an ID token that came from the token endpoint itself, over TLS, so that its signature need not be
// checked (OpenID Connect Core section 3.1.3.7, point 6); issuer, audience and end are.
func identityOfIDToken(d *provider.Definition, token seal.Secret, now time.Time) (Identity, error) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return Identity{}, fmt.Errorf("%w: it is no signed JWT", ErrForeignIDToken)
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	var c claims
	if err != nil || json.Unmarshal(body, &c) != nil {
		return Identity{}, fmt.Errorf("%w: its claims cannot be read", ErrForeignIDToken)
	}
	switch {
	case d.Issuer != "" && c.Issuer != d.Issuer:
		return Identity{}, fmt.Errorf("%w: another issuer made it", ErrForeignIDToken)
	case !slices.Contains(c.Audience, d.ClientID):
		return Identity{}, fmt.Errorf("%w: it is for another client", ErrForeignIDToken)
	case now.Add(-clockSlack).After(time.Unix(int64(c.Expires), 0)):
		return Identity{}, fmt.Errorf("%w: it has expired", ErrForeignIDToken)
	}
	return c.identity(), nil
}

// Derived names a grant's account as the provider calls the one who agreed; name is a part of g.Identity. Such a name has no
// segments, since whoever agreed may have chosen it: a person called t-1/alice is no account of the tenant t-1.
//
// Errors: ErrNoAccount; events.ErrName.
func (g NewGrant) Derived(providerName, name string) (NewGrant, error) {
	if name == "" || strings.Contains(name, "/") {
		return g, fmt.Errorf("%w: give it a name, as in %s/alice", ErrNoAccount, providerName)
	}
	g.Account, g.derived = name, true
	return g, events.Credential{Provider: providerName, Account: name}.Validate()
}
