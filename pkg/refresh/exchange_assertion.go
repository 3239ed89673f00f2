package refresh

import (
	"errors"
	"net/url"
	"time"

	"github.com/freshetdev/freshet/internal/assertion"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// The URIs of RFC 7523 section 2.
const (
	assertionTypeJWT  = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	grantTypeJWT      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	clientCredentials = "client_credentials"
)

// mintForm asks for a token of a grant that needs no refresh token (RFC 6749 section 4.4.2, RFC 7523 section 2.1).
func mintForm(r Request, now time.Time) (url.Values, error) {
	d := r.Provider
	form := url.Values{"grant_type": {clientCredentials}}
	if d.Grant == provider.GrantJWTBearer {
		text, err := sign(d.AssertionKey, d.Assertion.KeyID, grantClaims(d, r.Subject, now))
		if err != nil {
			return nil, requestError("assertion_key cannot sign: apply the provider again")
		}
		form = url.Values{"grant_type": {grantTypeJWT}, "assertion": {text}}
	}
	if len(d.Scopes) > 0 && !d.Assertion.ScopeClaim {
		form.Set("scope", d.ScopeText(d.Scopes))
	}
	return form, nil
}

// proveByAssertion authenticates the client with an assertion made for this request alone: a server keeps the ids of those it
// has seen (RFC 7523 section 3).
func proveByAssertion(d *provider.Definition, key seal.Secret, form url.Values, now time.Time) error {
	claims := claimsOf(d, d.ClientAssertion, now)
	claims["iss"], claims["sub"] = d.ClientID, d.ClientID
	text, err := sign(key, d.ClientAssertion.KeyID, claims)
	if err != nil {
		return requestError("client_key cannot sign: apply the provider again")
	}
	form.Set(d.ClientIDName(), d.ClientID) // RFC 7521 section 4.2: optional; some servers want it
	form.Set("client_assertion_type", assertionTypeJWT)
	form.Set("client_assertion", text)
	return nil
}

// grantClaims say for whom a token is asked (RFC 7523 section 3).
func grantClaims(d *provider.Definition, subject string, now time.Time) map[string]any {
	claims := claimsOf(d, d.Assertion.Assertion, now)
	for name, value := range d.Assertion.Claims {
		claims[name] = value
	}
	claims["iss"], claims["sub"] = d.AssertionIssuer(), subject
	if d.Assertion.ScopeClaim && len(d.Scopes) > 0 {
		claims["scope"] = d.ScopeText(d.Scopes)
	}
	return claims
}

// claimsOf are the claims that every assertion has. No two have one jti.
func claimsOf(d *provider.Definition, a provider.Assertion, now time.Time) map[string]any {
	return map[string]any{
		"aud": d.AudienceOf(a), "iat": now.Unix(), "exp": now.Add(a.Life()).Unix(), "jti": assertion.ID(),
	}
}

func sign(secret seal.Secret, kid string, claims map[string]any) (string, error) {
	key, err := assertion.ParseKey(secret.Reveal())
	if err != nil {
		return "", err
	}
	return key.WithID(kid).Sign(claims)
}

// CheckKeys reports which of a definition's private keys cannot sign. It quotes nothing of them.
func CheckKeys(d *provider.Definition) error {
	var faults []error
	check := func(field string, secret seal.Secret) {
		if _, err := assertion.ParseKey(secret.Reveal()); err != nil {
			faults = append(faults, &provider.Fault{Provider: d.Name, Field: field, Problem: err.Error()})
		}
	}
	if d.AuthStyle == provider.AuthPrivateKeyJWT {
		for _, s := range d.ClientSecrets {
			check("client_key", s)
		}
	}
	if d.Grant == provider.GrantJWTBearer {
		check("assertion_key", d.AssertionKey)
	}
	return errors.Join(faults...)
}
