package enroll

import (
	"context"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Consent is an authorization code flow (RFC 6749 section 4.1, with PKCE) in two halves, so that another process can end it
// than the one that began it. All fields are required.
type Consent struct {
	// Definition is the provider, with its defaults and its secrets open.
	Definition *provider.Definition
	// RedirectURI is where the provider sends the browser back to; the same in both halves.
	RedirectURI string
	// Verifier is the code verifier (RFC 7636 section 4.1), of NewVerifier; the same in both halves, and used once.
	Verifier seal.Secret
	// Exchange talks to the token endpoint.
	Exchange *refresh.HTTPExchange
}

// NewVerifier draws a code verifier of 256 bits.
func NewVerifier() seal.Secret { return seal.NewSecret(oauth2.GenerateVerifier()) }

// NewState draws a state of 256 bits (RFC 6749 section 10.12). Whoever redeems it must see to it that it is good once.
func NewState() string { return newState() }

func (c Consent) flow() flow {
	return flow{definition: c.Definition, redirect: c.RedirectURI, verifier: c.Verifier.Reveal(), exchange: c.Exchange}
}

// URL is where to send the browser. hint names whose agreement is wanted, if anybody's (login_hint).
func (c Consent) URL(state, hint string) (string, error) { return c.flow().authURL(state, hint, nil) }

// Redeem reads the answer with which the browser came back, whose state was right, and trades its code for tokens.
//
// Errors: ErrDeclined, ErrMixUp, ErrForeignIDToken, *AuthorizationError, *ExchangeError, or what ctx said.
func (c Consent) Redeem(ctx context.Context, answer url.Values) (NewGrant, error) {
	back := readCallback(answer, issuerOf(c.Definition))
	if back.err != nil {
		return NewGrant{}, back.err
	}
	return c.flow().redeem(ctx, back.code)
}
