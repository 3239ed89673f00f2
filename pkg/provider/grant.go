package provider

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Remints reports whether tokens of this grant type are asked for anew each time, with nothing that could be spent: there is
// no refresh token and no person.
func (g GrantType) Remints() bool { return g == GrantClientCredentials || g == GrantJWTBearer }

// TokenRequest is what token requests carry beyond what their grant type asks for. It goes into authorization requests too,
// TokenParams aside.
type TokenRequest struct {
	Resources   []string          `json:"resource,omitempty"`     // RFC 8707: absolute URIs that the tokens are for
	Audience    string            `json:"audience,omitempty"`     // what some servers want in its place
	TokenParams map[string]string `json:"token_params,omitempty"` // more parameters of each token request, by name
}

// Assertion says what a signed JWT is like (RFC 7523 section 3). The key's kind decides the algorithm: RS256, ES256 or EdDSA.
type Assertion struct {
	KeyID string `json:"kid,omitempty"` // goes before the kid of a JWK
	// Audience is the claim aud: a text of its own, or one of the words AudienceIssuer, the default, and AudienceTokenURL.
	Audience string   `json:"audience,omitempty"`
	Lifetime Duration `json:"lifetime,omitzero"` // 10s to 1h; default 2m
}

// The words for an Assertion's audience. The issuer alone is what a server cannot mistake for another's (RFC 9700
// section 2.1; draft-ietf-oauth-rfc7523bis).
const (
	AudienceIssuer   = "issuer"
	AudienceTokenURL = "token_url"
)

// GrantAssertion is the assertion of GrantJWTBearer. Its subject is the credential's own.
type GrantAssertion struct {
	Assertion
	Issuer     string            `json:"issuer,omitempty"`      // the claim iss; default the client id
	ScopeClaim bool              `json:"scope_claim,omitempty"` // the scopes go into the claim scope, not beside the assertion
	Claims     map[string]string `json:"claims,omitempty"`      // more claims, by name
}

// IsZero reports whether nothing is set.
func (a GrantAssertion) IsZero() bool {
	return a.Assertion == (Assertion{}) && a.Issuer == "" && !a.ScopeClaim && len(a.Claims) == 0
}

// AudienceOf is the claim aud of an assertion for this provider; empty when its issuer would be it and is not known.
func (d *Definition) AudienceOf(a Assertion) string {
	switch word := cmp.Or(a.Audience, AudienceIssuer); word {
	case AudienceIssuer:
		return d.Issuer
	case AudienceTokenURL:
		return d.TokenURL
	default:
		return word
	}
}

// AssertionIssuer is the claim iss of the assertion that asks for a token.
func (d *Definition) AssertionIssuer() string { return cmp.Or(d.Assertion.Issuer, d.ClientID) }

// Life is the lifetime of an assertion.
func (a Assertion) Life() time.Duration { return cmp.Or(a.Lifetime, defaultAssertionLife).Std() }

// defaultAssertionLife forgives a provider's clock and a slow network. Some providers take no more than three minutes.
const defaultAssertionLife = Duration(2 * time.Minute)

// checkGrant holds the grant type against what belongs to it alone.
func (d Definition) checkGrant(f *faults) {
	switch d.Grant {
	case GrantAuthorizationCode:
	case GrantClientCredentials:
		if d.AuthStyle == AuthNone {
			f.add("auth_style", "none cannot ask for client_credentials, which are for clients that prove themselves: want basic, post or private_key_jwt")
		}
	case GrantJWTBearer:
		d.checkBearer(f)
	default:
		f.add("grant", "%q is no grant type: want %s, %s or %s", d.Grant, GrantAuthorizationCode, GrantClientCredentials, GrantJWTBearer)
		return
	}
	if d.Grant.Remints() && d.Rotation != RotationNone {
		f.add("rotation", "%s has no meaning with grant %s: there is no refresh token, so nothing can be spent; remove it", d.Rotation, d.Grant)
	}
	if d.Grant != GrantJWTBearer && !d.Assertion.IsZero() {
		f.add("assertion", "has no meaning with grant %s: remove it, or choose grant %s", d.Grant, GrantJWTBearer)
	}
	if d.Grant != GrantJWTBearer && !d.AssertionKey.IsZero() {
		f.add("assertion_key", "has no meaning with grant %s: remove it, or choose grant %s", d.Grant, GrantJWTBearer)
	}
}

// checkBearer looks at what RFC 7523 section 3 asks for.
func (d Definition) checkBearer(f *faults) {
	if d.AssertionKey.IsZero() {
		f.add("assertion_key", "missing: grant %s signs with a private key; give a reference to it, such as file://key.pem", d.Grant)
	}
	if d.AssertionIssuer() == "" {
		f.add("assertion.issuer", "missing: give the name under which the provider knows this key, or a client_id")
	}
	d.Assertion.check(d, "assertion", f)
	for _, name := range slices.Sorted(maps.Keys(d.Assertion.Claims)) {
		if slices.Contains([]string{"", "iss", "sub", "aud", "exp", "iat", "nbf", "jti"}, name) || name == "scope" && d.Assertion.ScopeClaim {
			f.add("assertion.claims", "%q is set by the assertion itself: remove it", name)
		}
	}
}

// checkClientAssertion looks at private_key_jwt.
func (d Definition) checkClientAssertion(f *faults) {
	if d.AuthStyle != AuthPrivateKeyJWT {
		if d.ClientAssertion != (Assertion{}) {
			f.add("client_assertion", "has no meaning with auth_style %s: remove it, or choose private_key_jwt", d.AuthStyle)
		}
		return
	}
	if len(d.ClientSecrets) == 0 {
		f.add("client_key", "missing: auth_style private_key_jwt signs with a private key; give a reference to it, such as file://key.pem")
	}
	d.ClientAssertion.check(d, "client_assertion", f)
}

func (a Assertion) check(d Definition, field string, f *faults) {
	if a.Lifetime != 0 {
		checkDuration(f, field+".lifetime", a.Lifetime, 10*time.Second, time.Hour)
	}
	if d.AudienceOf(a) == "" && cmp.Or(a.Audience, AudienceIssuer) == AudienceIssuer {
		f.add(field+".audience", "missing: it is the issuer by default, and there is none; give issuer, or an audience, or the word %s", AudienceTokenURL)
	}
}

// checkTokenRequest refuses parameters that are set elsewhere.
func (d Definition) checkTokenRequest(f *faults) {
	for _, r := range d.Resources {
		if problem := resourceProblem(r); problem != "" {
			f.add("resource", "%s", problem)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.TokenParams)) {
		if ReservedTokenParam(name) {
			f.add("token_params", "%q is set by the request itself: remove it", name)
		}
	}
}

// ReservedTokenParam reports whether a parameter of token requests is set by the request itself, so that a definition cannot.
func ReservedTokenParam(name string) bool {
	switch name {
	case "", "grant_type", "refresh_token", "code", "redirect_uri", "code_verifier", "device_code", "scope", "resource", "audience",
		"client_id", "client_secret", "client_assertion", "client_assertion_type", "assertion":
		return true
	}
	return false
}

// TakesGrantsOf reports whether grants that were bound to a token URL may be presented at this provider: it is the same, or
// whoever applied the definition said so. Grants of earlier versions are bound to none.
func (d *Definition) TakesGrantsOf(tokenURL string) bool {
	return tokenURL == "" || tokenURL == d.TokenURL || slices.Contains(d.MovedFrom, tokenURL)
}
