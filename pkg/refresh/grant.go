package refresh

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Why a grant is not presented, although it opens.
var (
	// ErrNoRefreshToken: there is nothing to present.
	ErrNoRefreshToken = errors.New("there is no refresh token: log in again")
	// ErrOtherGrant: the provider's grant type is another one now. A token of another type may be another's token.
	ErrOtherGrant = errors.New("the provider's grant type has changed since: log in again")
	// ErrMoved: the provider's token_url is another one now, and nobody has said that its grants go there.
	ErrMoved = errors.New("the provider's token_url has changed since: apply the provider with --move-grants if that is right, else apply it with the old token_url")
)

// presentable reports why the grant must not be presented at the provider as it is defined now.
func (g Grant) presentable(d *provider.Definition) error {
	switch {
	case g.Mint != "" && g.Mint != d.Grant, g.Mint == "" && d.Grant.Remints():
		return fmt.Errorf("%w (it is %s, and was %s)", ErrOtherGrant, d.Grant, cmp.Or(g.Mint, provider.GrantAuthorizationCode))
	case g.Mint == "" && g.RefreshToken.IsZero():
		return ErrNoRefreshToken
	case !d.TakesGrantsOf(g.TokenURL):
		return ErrMoved
	}
	return nil
}

// next is the grant after it was presented with success. The spent refresh token is kept until its successor has worked once
// (RFC 6749 section 6: no new one means that the old one stays).
func (g Grant) next(d *provider.Definition, issued seal.Secret) Grant {
	next := Grant{RefreshToken: g.RefreshToken, Mint: g.Mint, Subject: g.Subject, TokenURL: d.TokenURL}
	if g.Mint == "" && !issued.IsZero() && !issued.Equal(g.RefreshToken) {
		next.RefreshToken, next.Previous = issued, g.RefreshToken
	}
	return next
}
