package provider

import (
	"cmp"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/seal"
)

// AuthStyle is how the client authenticates at the token endpoint (RFC 6749 section 2.3.1). It is always
// explicit: probing would present a refresh token twice.
type AuthStyle string

// The ways of client authentication.
const (
	AuthBasic         AuthStyle = "basic"           // HTTP Basic
	AuthPost          AuthStyle = "post"            // client_id and client_secret in the form
	AuthNone          AuthStyle = "none"            // public client: client_id only
	AuthPrivateKeyJWT AuthStyle = "private_key_jwt" // a signed assertion (RFC 7523 section 2.2)
)

// GrantType is how a provider's credentials come to be.
type GrantType string

// The grant types.
const (
	GrantAuthorizationCode GrantType = "authorization_code" // a person agreed once; refresh tokens since
	GrantClientCredentials GrantType = "client_credentials" // RFC 6749 section 4.4; asked for anew each time
	GrantJWTBearer         GrantType = "jwt_bearer"         // RFC 7523 section 2.1; asked for anew each time
)

// Rotation is a provider's rotation class: what has become of the old refresh token once a new one
// was issued, and so what may be done with an attempt whose outcome is unknown.
type Rotation string

// The rotation classes. Undeclared means RotationStrict.
const (
	RotationNone      Rotation = "none"       // the refresh token stays the same, or there is none
	RotationOverlap   Rotation = "overlap"    // the old one stays valid
	RotationGrace     Rotation = "grace"      // the old one is valid for Definition.RotationGrace
	RotationUntilUsed Rotation = "until_used" // the old one is valid until the new one is used
	RotationStrict    Rotation = "strict"     // the old one is dead; presenting it kills the grant
)

// Definition is a provider as data: an authorization server, our registration there, and how its
// tokens are kept fresh. Only ClientSecrets and AssertionKey are secret; the JSON form leaves them out.
type Definition struct {
	Name          string `json:"-"`                        // [a-z0-9][a-z0-9-]{0,31}; in JSON it is the key, not a member
	Preset        string `json:"preset,omitempty"`         // entry of the catalogue that it was made from; everything it said is in the fields
	Issuer        string `json:"issuer,omitempty"`         // RFC 8414 issuer identifier
	AuthURL       string `json:"auth_url,omitempty"`       // authorization endpoint (RFC 6749 section 3.1)
	TokenURL      string `json:"token_url,omitempty"`      // token endpoint (RFC 6749 section 3.2)
	DeviceURL     string `json:"device_url,omitempty"`     // device authorization endpoint (RFC 8628)
	RevokeURL     string `json:"revoke_url,omitempty"`     // RFC 7009
	IntrospectURL string `json:"introspect_url,omitempty"` // RFC 7662; only where it answers for refresh tokens
	UserinfoURL   string `json:"userinfo_url,omitempty"`   // says who agreed, where no ID token does (OpenID Connect Core section 5.3)
	// CallbackPath is where on the loopback address logins on one machine come back to, as it is registered there; default
	// DefaultCallbackPath. A path that no other provider has keeps answers from being mixed up (RFC 9700 section 4.4.2.2).
	CallbackPath string `json:"callback_path,omitempty"`
	// IssInAnswer: the authorization server names itself in each authorization response, so one without iss is not its own
	// (RFC 9207 section 2.4).
	IssInAnswer bool `json:"authorization_response_iss_parameter_supported,omitempty"`
	// Discovered are the fields that came from the issuer's metadata, by the names they have here.
	Discovered []string `json:"discovered,omitempty"`
	// PrivateNetwork: its endpoints may lie at private addresses. Without it, what a name resolves to must be public; see
	// package refresh.
	PrivateNetwork bool      `json:"private_network,omitempty"`
	ClientID       string    `json:"client_id"`
	AuthStyle      AuthStyle `json:"auth_style"` // no default for a client with a secret; AuthNone without
	Grant          GrantType `json:"grant"`      // default GrantAuthorizationCode
	Scopes         []string  `json:"scopes,omitempty"`
	TokenRequest
	// ClientAssertion is for AuthPrivateKeyJWT, Assertion for GrantJWTBearer.
	ClientAssertion Assertion      `json:"client_assertion,omitzero"`
	Assertion       GrantAssertion `json:"assertion,omitzero"`
	Rotation        Rotation       `json:"rotation"`                // default RotationStrict; RotationNone where the grant type re-mints
	RotationGrace   Duration       `json:"rotation_grace,omitzero"` // with the class RotationGrace only
	Refresh         Refresh        `json:"refresh,omitzero"`
	Limits          Limits         `json:"limits,omitzero"`
	Words           Words          `json:"words,omitzero"`

	Dialect                 // where requests and answers differ from the RFCs
	RefreshLife RefreshLife `json:"refresh_life,omitzero"`
	// RefreshEndsAccess: a refresh ends the access token before it, so there is no overlap and readers have to change over at once.
	RefreshEndsAccess bool `json:"refresh_ends_access,omitempty"`

	// ClientSecrets are tried in order; more than one while a rotation of the secret overlaps. Under AuthPrivateKeyJWT they
	// are the client's private keys, as assertion.ParseKey reads them.
	ClientSecrets []seal.Secret `json:"-"`
	// AssertionKey signs the assertions of GrantJWTBearer.
	AssertionKey seal.Secret `json:"-"`
	// MovedFrom are token URLs whose grants may be presented at TokenURL. It is no secret, but lies sealed: only who has the
	// grant keyset can say so.
	MovedFrom []string `json:"-"`
	// Unvouched are the fields among introspect_url, revoke_url and userinfo_url that an entry has in clear otherwise than sealed, and that
	// are therefore empty: somebody without the grant keyset has written them, or an earlier version. Applying again mends it.
	Unvouched []string `json:"-"`
}

// Refresh says when a provider's tokens are renewed. Zero fields take the defaults given here.
type Refresh struct {
	MinLead         Duration `json:"min_lead,omitzero"`         // default 1m, or max_lead if that is shorter
	MaxLead         Duration `json:"max_lead,omitzero"`         // default 15m, or min_lead if that is longer
	DefaultLifetime Duration `json:"default_lifetime,omitzero"` // of a token that comes without expires_in; default 1h, or max_lifetime if shorter; "never" = no end
	MaxLifetime     Duration `json:"max_lifetime,omitzero"`     // bound on what a provider may claim; default 90d, or default_lifetime if longer
	Cron            string   `json:"cron,omitempty"`            // forces a refresh; see ParseCron
	KeepAlive       Duration `json:"keep_alive,omitzero"`       // refresh at least this often; 0 = no
	// EarlyRefused: the provider refuses a refresh before this long ahead of the end (some do);
	// the lead is then exactly this, without jitter. 0 = early refresh is fine.
	EarlyRefused Duration `json:"early_refused,omitzero"`
}

// Limits bounds what is asked of a provider, over the whole fleet.
type Limits struct {
	Concurrency int      `json:"concurrency,omitempty"` // calls in flight; 1 to 10000, default 64
	Rate        Rate     `json:"rate,omitzero"`         // token requests per second; 0 = no limit
	Timeout     Duration `json:"timeout,omitzero"`      // one token request; 1s to 5m, default 20s
}

// Words are a provider's own error codes, beyond those of RFC 6749 section 5.2.
type Words struct {
	NotConsumed   []string `json:"not_consumed,omitempty"`  // "the refresh token was not spent": transient
	Throttled     []string `json:"throttled,omitempty"`     // rate limit
	Rejected      []string `json:"rejected,omitempty"`      // the grant is dead
	Misconfigured []string `json:"misconfigured,omitempty"` // the client is wrong
}

// IsZero reports whether there are no words.
func (w Words) IsZero() bool {
	return len(w.NotConsumed)+len(w.Throttled)+len(w.Rejected)+len(w.Misconfigured) == 0
}

// DefaultCallbackPath is the path of http://127.0.0.1/callback, the redirect URI to register for logins on one machine; the port is free
// to vary (RFC 8252 section 7.3), the path is not.
const DefaultCallbackPath = "/callback"

// The defaults of a definition.
const (
	defaultMinLead     = Duration(time.Minute)
	defaultMaxLead     = Duration(15 * time.Minute)
	defaultLifetime    = Duration(time.Hour)
	defaultMaxLifetime = Duration(90 * day)
	defaultConcurrency = 64
	defaultTimeout     = Duration(20 * time.Second)
)

// WithDefaults returns a copy in which everything that was left out has its default. A client with a secret has no
// default way to authenticate; Validate asks for it.
func (d Definition) WithDefaults() Definition {
	if len(d.ClientSecrets) == 0 {
		d.AuthStyle = cmp.Or(d.AuthStyle, AuthNone)
	}
	d.Grant = cmp.Or(d.Grant, GrantAuthorizationCode)
	if d.Grant.Remints() {
		d.Rotation, d.RefreshLife = cmp.Or(d.Rotation, RotationNone), RefreshLife{} // there are no refresh tokens
	}
	d.Rotation = cmp.Or(d.Rotation, RotationStrict)
	d.Refresh = d.Refresh.withDefaults()
	d.Limits = d.Limits.withDefaults()
	return d
}

// withDefaults lets a default give way to what was declared beside it, so that one field can be set alone.
func (r Refresh) withDefaults() Refresh {
	maxLead := max(defaultMaxLead, r.MinLead)
	r.MinLead = cmp.Or(r.MinLead, min(defaultMinLead, cmp.Or(r.MaxLead, maxLead)))
	r.MaxLead = cmp.Or(r.MaxLead, maxLead)
	r.MaxLifetime = cmp.Or(r.MaxLifetime, max(defaultMaxLifetime, finite(r.DefaultLifetime)))
	r.DefaultLifetime = cmp.Or(r.DefaultLifetime, min(defaultLifetime, r.MaxLifetime))
	return r
}

// finite is d, or 0 for Never.
func finite(d Duration) Duration {
	if d == Never {
		return 0
	}
	return d
}

func (l Limits) withDefaults() Limits {
	l.Concurrency = cmp.Or(l.Concurrency, defaultConcurrency)
	l.Timeout = cmp.Or(l.Timeout, defaultTimeout)
	return l
}

// LoginPath is CallbackPath or its default. It is no default of the definition's, which would be written into every entry.
func (d Definition) LoginPath() string { return cmp.Or(d.CallbackPath, DefaultCallbackPath) }

// OAuth2Endpoint returns the endpoints in the form x/oauth2 takes. The style is never left to its detection, which
// would send a second request with the same refresh token or code.
func (d Definition) OAuth2Endpoint() oauth2.Endpoint {
	style := oauth2.AuthStyleInParams // of a public client too: client_id goes into the form
	if d.AuthStyle == AuthBasic {
		style = oauth2.AuthStyleInHeader
	}
	return oauth2.Endpoint{AuthURL: d.AuthURL, DeviceAuthURL: d.DeviceURL, TokenURL: d.TokenURL, AuthStyle: style}
}
