package enroll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// MintConfig describes the enrolment of a grant that needs no person. Definition and Credential are required.
type MintConfig struct {
	// Definition is the provider, with its defaults and its secrets open. Its grant type must re-mint.
	Definition *provider.Definition
	// Credential is what the grant is stored under.
	Credential events.Credential
	// Subject is for whom a token is asked with provider.GrantJWTBearer; default: the account.
	Subject string
	// Exchange talks to the token endpoint. nil: one of its own.
	Exchange *refresh.HTTPExchange
}

// Mint asks for the first token of a grant without a person (RFC 6749 section 4.4, RFC 7523 section 2.1), which shows whether the
// provider accepts client and keys. Writer.Enroll stores it.
//
// Errors: ErrNoSubject; *ExchangeError; what ctx said.
func Mint(ctx context.Context, cfg MintConfig) (NewGrant, error) {
	d := cfg.Definition
	if !d.Grant.Remints() {
		return NewGrant{}, fmt.Errorf("mint a token for %s: grant %s needs a person", cfg.Credential, d.Grant)
	}
	grant, err := NewGrant{Subject: cfg.Subject}.of(d, cfg.Credential.Account)
	if err = errors.Join(err, cfg.Credential.Validate()); err != nil {
		return NewGrant{}, fmt.Errorf("mint a token for %s: %w", cfg.Credential, err)
	}
	if cfg.Exchange == nil {
		cfg.Exchange = refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{})
		defer cfg.Exchange.CloseIdle()
	}
	minted, err := overSecrets(d, func(secret seal.Secret) (NewGrant, error) { return cfg.mintWith(ctx, secret, grant.Subject) })
	if err != nil {
		return NewGrant{}, fmt.Errorf("mint a token for %s: %w", cfg.Credential, err)
	}
	minted.Subject = grant.Subject
	return minted, nil
}

func (c MintConfig) mintWith(ctx context.Context, secret seal.Secret, subject string) (NewGrant, error) {
	d := c.Definition
	out := c.Exchange.Exchange(ctx, refresh.Request{
		Provider: d, ClientSecret: secret, Subject: subject, Deadline: time.Now().Add(d.Timing().Timeout),
	})
	return grantOfOutcome(ctx, d, out, secret)
}
