package enroll

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// reservedParameters are those of an authorization request that the flow itself sets.
func reservedParameters() []string {
	return []string{
		"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "login_hint",
	}
}

// authURL returns where to send the browser.
func (f flow) authURL(state, hint string, extra map[string]string) (string, error) {
	d := f.definition
	if d.AuthURL == "" {
		return "", fmt.Errorf("provider %s has no auth_url: add it and apply the provider again", d.Name)
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.verifier)}
	if hint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", hint))
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if slices.Contains(reservedParameters(), name) {
			return "", fmt.Errorf("extra parameter %s: the login sets it itself", name)
		}
		options = append(options, oauth2.SetAuthURLParam(name, extra[name]))
	}
	cfg := oauth2.Config{ClientID: d.ClientID, Endpoint: d.OAuth2Endpoint(), RedirectURL: f.redirect, Scopes: d.Scopes}
	return cfg.AuthCodeURL(state, options...), nil
}

// ExchangeError says why a token endpoint gave no tokens for a code.
type ExchangeError struct {
	Provider string
	Class    refresh.Class
	Code     string // the provider's error code, if it gave one
	Detail   string // what was seen, in short words
}

// Error implements error.
func (e *ExchangeError) Error() string {
	text := fmt.Sprintf("%s gave no token for the code: %s", e.Provider, e.Detail)
	if e.Class == refresh.ClassMisconfigured {
		text += ": check client_id, client_secret, auth_style and scopes of the provider"
	}
	return text
}

// redeem trades a code for tokens (RFC 6749 section 4.1.3). Client secrets are tried in order: a server that does not
// accept one has not looked at the code yet.
func (f flow) redeem(ctx context.Context, code string) (NewGrant, error) {
	secrets := f.definition.ClientSecrets
	if len(secrets) == 0 {
		secrets = []seal.Secret{{}}
	}
	var failure *ExchangeError
	for _, secret := range secrets {
		grant, err := f.redeemWith(ctx, code, secret)
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
	out := f.exchange.Redeem(ctx, d, secret, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {f.redirect}, "code_verifier": {f.verifier},
	})
	if err := ctx.Err(); err != nil && out.Phase != refresh.PhaseAnswered {
		return NewGrant{}, err
	}
	j := refresh.Classify(d, out).Without(seal.NewSecret(code), seal.NewSecret(f.verifier), secret)
	if j.Class != refresh.ClassOK {
		return NewGrant{}, &ExchangeError{Provider: d.Name, Class: j.Class, Code: j.Code, Detail: j.Detail}
	}
	return grantOf(d, j.Reply, out.StartedAt), nil
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
