package enroll

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// flow is one authorization code flow with PKCE (RFC 6749 section 4.1, RFC 7636).
type flow struct {
	definition *provider.Definition
	redirect   string
	verifier   string
	exchange   *refresh.HTTPExchange
}

// authURL returns where to send the browser: the provider's own parameters, those of this login, and the flow's.
func (f flow) authURL(state, hint string, extra map[string]string) (string, error) {
	d := f.definition
	if d.AuthURL == "" {
		return "", fmt.Errorf("provider %s has no auth_url: add it and apply the provider again", d.Name)
	}
	address, err := url.Parse(d.AuthURL)
	if err != nil {
		return "", fmt.Errorf("provider %s: auth_url cannot be used", d.Name)
	}
	own := f.authParams(state, hint)
	query := address.Query()
	for _, params := range []map[string]string{d.AuthParams, extra} {
		for name, value := range params {
			if _, ok := own[name]; ok || name == "resource" && len(d.Resources) > 0 {
				return "", fmt.Errorf("extra parameter %s: the login sets it itself", name)
			}
			setOrDrop(query, name, value)
		}
	}
	for name, value := range own {
		setOrDrop(query, name, value)
	}
	if len(d.Resources) > 0 {
		query["resource"] = d.Resources // RFC 8707 section 2.1: one parameter each
	}
	address.RawQuery = query.Encode()
	return address.String(), nil
}

// authParams are the parameters of an authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3) under the names
// that the provider has for them; empty ones are not sent.
func (f flow) authParams(state, hint string) map[string]string {
	d := f.definition
	own := map[string]string{
		"response_type": "code", "redirect_uri": f.redirect, "state": state, "login_hint": hint,
		d.ClientIDName(): d.ClientID, d.ScopeName(): d.ScopeText(d.Scopes),
		"code_challenge": f.challenge(), "code_challenge_method": "S256",
	}
	if d.Audience != "" {
		own["audience"] = d.Audience
	}
	if f.asksNonce() {
		own["nonce"] = f.nonce()
	}
	return own
}

// asksNonce reports whether the ID token must name this flow (OpenID Connect Core section 3.1.2.1). Some providers do not repeat a nonce;
// an empty one among auth_params says so.
func (f flow) asksNonce() bool {
	nonce, said := f.definition.AuthParams["nonce"]
	return slices.Contains(f.definition.Scopes, "openid") && !(said && nonce == "")
}

// nonce is made of the verifier, so that whoever has that, and nobody else, knows it, and a flow in two halves has nothing more to keep.
func (f flow) nonce() string {
	sum := sha256.Sum256([]byte("nonce " + f.verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (f flow) challenge() string {
	if f.definition.CodeChallenge == provider.ChallengeS256Hex {
		sum := sha256.Sum256([]byte(f.verifier))
		return hex.EncodeToString(sum[:])
	}
	return oauth2.S256ChallengeFromVerifier(f.verifier)
}

// setOrDrop sets a parameter; an empty value leaves it out.
func setOrDrop(q url.Values, name, value string) {
	if q.Del(name); value != "" {
		q.Set(name, value)
	}
}

// ExchangeError says why a token endpoint gave no tokens.
type ExchangeError struct {
	Provider string
	Class    refresh.Class
	Code     string // the provider's error code, if it gave one
	Detail   string // what was seen, in short words
}

// Error implements error.
func (e *ExchangeError) Error() string {
	text := fmt.Sprintf("%s gave no token: %s", e.Provider, e.Detail)
	if e.Class == refresh.ClassMisconfigured {
		text += ": check client_id, client_secret or keys, auth_style and scopes of the provider"
	}
	return text
}

// redeem trades a code for tokens (RFC 6749 section 4.1.3). Client secrets are tried in order: a server that does not
// accept one has not looked at the code yet.
func (f flow) redeem(ctx context.Context, code string) (NewGrant, error) {
	return overSecrets(f.definition, func(secret seal.Secret) (NewGrant, error) { return f.redeemWith(ctx, code, secret) })
}

// overSecrets tries the client's secrets in order, until one is accepted or the answer is about something else.
func overSecrets(d *provider.Definition, try func(seal.Secret) (NewGrant, error)) (NewGrant, error) {
	secrets := d.ClientSecrets
	if len(secrets) == 0 {
		secrets = []seal.Secret{{}}
	}
	var failure *ExchangeError
	for _, secret := range secrets {
		grant, err := try(secret)
		if err == nil {
			return grant, nil
		}
		if !errors.As(err, &failure) || failure.Code != "invalid_client" {
			return NewGrant{}, err
		}
	}
	return NewGrant{}, failure
}

func (f flow) redeemWith(ctx context.Context, code string, secret seal.Secret) (NewGrant, error) {
	d := f.definition
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {f.redirect}, "code_verifier": {f.verifier},
	}
	for name, value := range d.CodeParams {
		setOrDrop(form, name, value)
	}
	out := f.exchange.Redeem(ctx, d, secret, form)
	grant, err := grantOfOutcome(ctx, d, out, seal.NewSecret(code), seal.NewSecret(f.verifier), secret)
	if err == nil && f.asksNonce() && grant.vouched && grant.nonce != f.nonce() {
		return NewGrant{}, fmt.Errorf("%w: it names another login, or none (nonce)", ErrForeignIDToken)
	}
	return grant, err
}

// grantOfOutcome reads what a token endpoint answered to a request that carried those secrets.
func grantOfOutcome(ctx context.Context, d *provider.Definition, out refresh.Outcome, sent ...seal.Secret) (NewGrant, error) {
	if err := ctx.Err(); err != nil && out.Phase != refresh.PhaseAnswered {
		return NewGrant{}, err
	}
	j := refresh.Classify(d, out).Without(sent...)
	if j.Class != refresh.ClassOK {
		return NewGrant{}, &ExchangeError{Provider: d.Name, Class: j.Class, Code: j.Code, Detail: j.Detail}
	}
	return identified(d, j.Reply, grantOf(d, j.Reply, out.StartedAt))
}

// grantOf makes a grant of the token endpoint's answer. One that names no scopes means those that were asked for (RFC
// 6749 section 5.1).
func grantOf(d *provider.Definition, r refresh.Reply, started time.Time) NewGrant {
	if r.Scopes == nil {
		r.Scopes = d.Scopes
	}
	return NewGrant{
		RefreshToken: r.RefreshToken, AccessToken: r.AccessToken, TokenType: r.TokenType, Scopes: r.Scopes, Meta: r.Meta,
		StartedAt: started, Lifetime: r.Lifetime, GrantLifetime: r.GrantLifetime,
	}
}
