package enroll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// ErrNotConfirmed: a credential is withdrawn here, and its provider has not confirmed it. What the provider must be told is still
// in the record, sealed, so that Revoke can be called again.
var ErrNotConfirmed = errors.New("the provider has not confirmed it")

// RevokeConfig describes a revocation. Writer, with both keysets, Definition and Revoke are required.
type RevokeConfig struct {
	Writer     *Writer
	Definition *provider.Definition
	// Revoke tells the provider, as refresh.Asker.Revoke does.
	Revoke func(ctx context.Context, d *provider.Definition, clientSecret, token seal.Secret) error
	// Patience bounds the tries; default 30 seconds.
	Patience time.Duration
}

// Waits between two tries to tell the provider.
const (
	revokePatience = 30 * time.Second
	firstRevoke    = 500 * time.Millisecond
	maxRevoke      = 5 * time.Second
)

// Revoke withdraws a credential here and at its provider (RFC 7009). First the record is marked: its state is StateRevoked, so
// nobody refreshes or reads it any more, and whatever is in flight is given back when it lands; its secrets are still there, sealed.
// Then the provider is told, within Patience; then the secrets go. Whoever dies in between leaves the mark, and the next
// call goes on from there. told is false where the provider has no revoke_url: then there is nothing but the tombstone.
//
// Errors: refresh.ErrNotFound; refresh.ErrMalformed; ErrNotConfirmed, which wraps what the provider said last; seal.ErrUnknownKey
// and seal.ErrCorrupt for a grant that does not open, of which nothing was changed; ErrUntold.
func Revoke(ctx context.Context, cfg RevokeConfig, c events.Credential) (told bool, err error) {
	cfg.Patience = cmp.Or(cfg.Patience, revokePatience)
	if cfg.Definition.RevokeURL == "" {
		_, err := cfg.Writer.Tombstone(ctx, c, refresh.StateRevoked)
		return false, err
	}
	w := cfg.Writer
	marked, err := w.change(ctx, c, w.mark)
	if err != nil {
		return false, fmt.Errorf("revoke %s: %w", c, err)
	}
	untold := w.tell(ctx, marked)
	tokens, err := w.tokensOf(&marked.Record)
	if err != nil {
		return false, fmt.Errorf("revoke %s: %w", c, err)
	}
	for _, token := range tokens {
		if err := cfg.atProvider(ctx, token); err != nil {
			return false, fmt.Errorf("revoke %s: %w: %w", c, ErrNotConfirmed, err)
		}
	}
	_, err = w.change(ctx, c, func(cur refresh.Stored) (refresh.Write, error) {
		if cur.Record.GrantID != marked.Record.GrantID {
			return refresh.Write{}, errDone // somebody has logged in again: that grant is another one
		}
		return bury(cur, refresh.StateRevoked)
	})
	if err != nil && !errors.Is(err, refresh.ErrNotFound) {
		return true, fmt.Errorf("forget the secrets of %s, which is revoked: %w", c, err)
	}
	return true, untold
}

// mark withdraws a credential and keeps what its provider must be told: the refresh tokens, or the access token where there is
// none.
func (w *Writer) mark(cur refresh.Stored) (refresh.Write, error) {
	r := cur.Record
	switch {
	case r.State == "", r.State == refresh.StateDeleted:
		return refresh.Write{}, refresh.ErrNotFound
	case r.State == refresh.StateRevoked:
		return refresh.Write{}, errDone // marked, or a tombstone
	}
	g, err := w.Keys.OpenGrant(&r)
	if err != nil {
		return refresh.Write{}, err
	}
	write, err := bury(cur, refresh.StateRevoked)
	if err != nil {
		return refresh.Write{}, err
	}
	if write.Record.Grant = r.Grant; g.RefreshToken.IsZero() {
		write.Record.Access = r.Access
	}
	return write, nil
}

// tokensOf are the tokens that a marked record still has: the refresh token, and the one before it, which some providers
// accept for a while.
func (w *Writer) tokensOf(r *refresh.Record) ([]seal.Secret, error) {
	g, err := w.Keys.OpenGrant(r)
	if err != nil {
		return nil, err
	}
	access, err := w.Keys.OpenAccess(r)
	if err != nil {
		return nil, err
	}
	var tokens []seal.Secret
	for _, t := range []seal.Secret{g.RefreshToken, g.Previous, access} {
		if !t.IsZero() {
			tokens = append(tokens, t)
		}
	}
	return tokens, nil
}

// atProvider tells the provider until it confirms, until it says that it never will, or until patience ends.
func (c RevokeConfig) atProvider(ctx context.Context, token seal.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	for wait := firstRevoke; ; wait = min(2*wait, maxRevoke) {
		err := c.overSecrets(ctx, token)
		var said *refresh.AskError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &said) && !said.Passes():
			return err
		case said != nil:
			wait = max(wait, said.RetryAfter)
		}
		if !sleep.For(ctx, wait) {
			return err
		}
	}
}

// overSecrets tells the provider once, with the client secret that it accepts.
func (c RevokeConfig) overSecrets(ctx context.Context, token seal.Secret) error {
	secrets := c.Definition.ClientSecrets
	if len(secrets) == 0 {
		secrets = []seal.Secret{{}}
	}
	var err error
	for _, secret := range secrets {
		var said *refresh.AskError
		err = c.Revoke(ctx, c.Definition, secret, token)
		if !errors.As(err, &said) || said.Code != "invalid_client" {
			return err
		}
	}
	return err
}
