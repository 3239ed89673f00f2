package authserver

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Config says how a Server behaves. The zero value works: one client, strict
// rotation, access tokens of one hour.
type Config struct {
	// Issuer is the issuer identifier (RFC 8414 section 2), without a trailing
	// slash. Empty: the scheme and host of each request.
	Issuer string
	// Clients are the registered clients. Empty: one client "dev" with the
	// secret "dev-secret", which may authenticate by basic or post and is
	// redirected to /callback on 127.0.0.1 or [::1], any port.
	Clients []Client
	// Rotation is what becomes of a refresh token that was used. Empty: strict.
	Rotation Rotation
	// Grace is how long a spent refresh token stays valid under RotationGrace,
	// counted from its first use. Zero: 30 s.
	Grace time.Duration
	// GraceSame answers a spent refresh token inside its grace with the current
	// refresh token of the family and a new access token. False: with a new
	// pair, so that a second chain of tokens is valid beside the first.
	GraceSame bool
	// AccessLifetime is how long an access token lives; at least 1 s. Clients
	// are told whole seconds, rounded down. Zero: 1 h.
	AccessLifetime time.Duration
	// Lifetime overrides AccessLifetime for the n-th access token of a grant,
	// counted from 1; zero or less means AccessLifetime. It is called while the
	// grant is locked and must not call the Server. Nil: no override.
	Lifetime func(account string, n int) time.Duration
	// RotationKillsAccess makes every refresh end the grant's earlier access
	// tokens at once, as some providers do.
	RotationKillsAccess bool
	// IdleLifetime ends a grant that was not refreshed for so long. Zero: never.
	IdleLifetime time.Duration
	// GrantLifetime ends a grant so long after it was given. Zero: never.
	GrantLifetime time.Duration
	// CodeLifetime is how long an authorization code is good. Zero: 1 min.
	CodeLifetime time.Duration
	// DeviceLifetime is how long a device code is good (RFC 8628). Zero: 10 min.
	DeviceLifetime time.Duration
	// DeviceInterval is how long a device waits between two questions; who asks
	// earlier is told to slow down, and has to. Whole seconds. Zero: 5 s.
	DeviceInterval time.Duration
	// IntrospectRefresh makes /introspect answer for refresh tokens. False:
	// every refresh token is reported as not active.
	IntrospectRefresh bool
	// Claims makes the answers to codes carry an ID token with these claims
	// about an account, beside or in place of iss, aud, sub (the account's
	// name), iat and exp. Nil: no ID tokens.
	Claims func(account string) map[string]any
	// OmitExpiresIn leaves expires_in out of token responses.
	OmitExpiresIn bool
	// RefreshExpiresIn adds refresh_token_expires_in, in seconds, to token
	// responses when IdleLifetime or GrantLifetime gives the grant an end.
	RefreshExpiresIn bool
	// LastTryLead is how long before the end of an access token its holder has
	// nothing left to lose (see Ledger.LastTries). Zero: a tenth of the access
	// token's lifetime, at least 2 s.
	LastTryLead time.Duration
	// Latency is how long a token request takes, half of it before the request
	// takes effect and half after. A client that hangs up ends the wait, not
	// the request. Zero: none.
	Latency time.Duration
	// LatencyFunc overrides Latency for each token request; the account is
	// empty where the request names none. Nil: no override.
	LatencyFunc func(account string) time.Duration
	// Seed makes tokens, codes and faults reproducible. Zero: random. A seeded
	// server's tokens can be forged by whoever knows the seed.
	Seed uint64
}

// maxScopes bounds the scopes of one grant: a token carries its own scopes as
// one bit each.
const maxScopes = 32

func (c Config) withDefaults() Config {
	c.Rotation = cmp.Or(c.Rotation, RotationStrict)
	c.Grace = cmp.Or(c.Grace, 30*time.Second)
	c.AccessLifetime = cmp.Or(c.AccessLifetime, time.Hour)
	c.CodeLifetime = cmp.Or(c.CodeLifetime, time.Minute)
	c.DeviceLifetime = cmp.Or(c.DeviceLifetime, 10*time.Minute)
	c.DeviceInterval = cmp.Or(c.DeviceInterval, 5*time.Second)
	if len(c.Clients) == 0 {
		c.Clients = []Client{{
			ID:           "dev",
			Secret:       "dev-secret",
			RedirectURIs: []string{"http://127.0.0.1/callback", "http://[::1]/callback"},
		}}
	}
	return c
}

// Validate reports everything that is wrong with c, joined into one error.
func (c Config) Validate() error {
	c = c.withDefaults()
	errs := []error{validIssuer(c.Issuer), validRotation(c.Rotation)}
	for _, d := range []struct {
		name     string
		got, min time.Duration
	}{
		{"Grace", c.Grace, 0},
		{"AccessLifetime", c.AccessLifetime, time.Second},
		{"IdleLifetime", c.IdleLifetime, 0},
		{"GrantLifetime", c.GrantLifetime, 0},
		{"CodeLifetime", c.CodeLifetime, 0},
		{"DeviceLifetime", c.DeviceLifetime, time.Second},
		{"DeviceInterval", c.DeviceInterval, time.Second},
		{"LastTryLead", c.LastTryLead, 0},
		{"Latency", c.Latency, 0},
	} {
		if d.got < d.min {
			errs = append(errs, fmt.Errorf("%s is %v: must be %v or more", d.name, d.got, d.min))
		}
	}
	seen := map[string]bool{}
	for i, cl := range c.Clients {
		if err := cl.validate(); err != nil {
			errs = append(errs, fmt.Errorf("client %d (%q): %w", i+1, cl.ID, err))
		}
		if seen[cl.ID] {
			errs = append(errs, fmt.Errorf("client %d: id %q is taken: give each client its own", i+1, cl.ID))
		}
		seen[cl.ID] = true
	}
	return errors.Join(errs...)
}

func validRotation(r Rotation) error {
	if slices.Contains(Rotations(), r) {
		return nil
	}
	return fmt.Errorf("unknown Rotation %q: use one of %v", r, Rotations())
}

func validIssuer(issuer string) error {
	if issuer == "" {
		return nil
	}
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("invalid Issuer %q: must be scheme://host[:port] and nothing more", issuer)
	}
	return nil
}

// lifetime is how long the n-th access token of the account's grant lives.
func (c *Config) lifetime(account string, n int) time.Duration {
	if c.Lifetime != nil {
		if d := c.Lifetime(account, n); d > 0 {
			return d
		}
	}
	return c.AccessLifetime
}

// latency is how long a token request about the account takes.
func (c *Config) latency(account string) time.Duration {
	if c.LatencyFunc != nil {
		return c.LatencyFunc(account)
	}
	return c.Latency
}
