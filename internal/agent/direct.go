package agent

import (
	"context"
	"time"

	"github.com/freshetdev/freshet/pkg/tokens"
)

// Source is where tokens come from: Direct or Remote.
type Source interface {
	// Token returns the token of a credential, PROVIDER/ACCOUNT, one that lives for least if need be: a newer one is asked for
	// and waited for where it does not. Errors: those of tokens.Client.Token, and tokens.ErrNotRenewed.
	Token(ctx context.Context, id string, least time.Duration) (tokens.Token, error)
	// Refused returns a token other than the one that a server refused: the newest there is, or one that is asked for, once
	// for all, and waited for. Errors: those of tokens.Client.Renew.
	Refused(ctx context.Context, id, access string) (tokens.Token, error)
}

// Direct reads over NATS.
type Direct struct{ Client *tokens.Client }

var _ Source = Direct{}

// Token implements Source.
func (d Direct) Token(ctx context.Context, id string, least time.Duration) (tokens.Token, error) {
	if least <= 0 {
		return d.Client.Token(ctx, id)
	}
	t, err := d.Client.TokenFor(ctx, id, least)
	if err != nil {
		return tokens.Token{}, err // what there is lives shorter
	}
	return t, nil
}

// Refused implements Source.
func (d Direct) Refused(ctx context.Context, id, access string) (tokens.Token, error) {
	t, err := d.Client.Token(ctx, id)
	if err != nil || t.AccessToken.Reveal() != access {
		return t, err
	}
	return d.Client.Renew(ctx, t)
}
