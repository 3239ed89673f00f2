package enroll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	// RevokeAccess tells it of an access token, as refresh.Asker.RevokeAccess does; default: Revoke.
	RevokeAccess func(ctx context.Context, d *provider.Definition, clientSecret, token seal.Secret) error
	// Patience bounds the tries; default 30 seconds.
	Patience time.Duration
}

// Waits between two tries to tell the provider.
const (
	revokePatience = 30 * time.Second
	firstRevoke    = 500 * time.Millisecond
	maxRevoke      = 5 * time.Second
)

// ErrUnvouched: the provider's revoke_url is not the one that was sealed when it was applied, so no token is shown there.
var ErrUnvouched = errors.New("revoke_url was not written by anybody who has the grant keyset: apply the provider again")

// Revoke withdraws a credential here and at its provider (RFC 7009). First the record is marked: its state is StateRevoked, so
// nobody refreshes or reads it any more, and whatever is in flight is given back when it lands; its secrets are still there, sealed.
// Then the provider is told, within Patience; then the secrets go. Whoever dies in between leaves the mark, and the next
// call goes on from there. told is false where the provider has no revoke_url, and where there was a tombstone already: nothing is left to tell it of.
//
// Errors: ErrUnvouched, with nothing changed; refresh.ErrNotFound; refresh.ErrMalformed; ErrNotConfirmed, which wraps what the provider said last; seal.ErrUnknownKey
// and seal.ErrCorrupt for a grant that does not open, of which nothing was changed; ErrUntold.
func Revoke(ctx context.Context, cfg RevokeConfig, c events.Credential) (told bool, err error) {
	cfg.Patience = cmp.Or(cfg.Patience, revokePatience)
	if slices.Contains(cfg.Definition.Unvouched, "revoke_url") {
		return false, fmt.Errorf("revoke %s: %w", c, ErrUnvouched)
	}
	if cfg.Definition.RevokeURL == "" {
		_, err := cfg.Writer.Tombstone(ctx, c, refresh.StateRevoked)
		return false, err
	}
	w := cfg.Writer
	mark, err := w.change(ctx, c, w.mark)
	if err != nil {
		return false, fmt.Errorf("revoke %s: %w", c, err)
	}
	untold := w.tell(ctx, mark)
	tokens, err := w.tokensOf(&mark.Record)
	if err != nil {
		return false, fmt.Errorf("revoke %s: %w", c, err)
	}
	for i, t := range tokens {
		err := cfg.atProvider(ctx, t)
		if i > 0 && refused(err) {
			continue // the grant went with its newest token (RFC 7009 section 2.1), and an old one need not be known any more
		}
		if err != nil {
			return false, fmt.Errorf("revoke %s: %w: %w", c, ErrNotConfirmed, err)
		}
	}
	_, err = w.change(ctx, c, func(cur refresh.Stored) (refresh.Write, error) {
		if cur.Record.GrantID != mark.Record.GrantID {
			return refresh.Write{}, errDone // somebody has logged in again: that grant is another one
		}
		return bury(cur, refresh.StateRevoked)
	})
	if err != nil && !errors.Is(err, refresh.ErrNotFound) {
		return len(tokens) > 0, fmt.Errorf("forget the secrets of %s, which is revoked: %w", c, err)
	}
	return len(tokens) > 0, untold
}

// refused reports whether the provider said no, and would say so again.
func refused(err error) bool {
	var said *refresh.AskError
	return errors.As(err, &said) && !said.Passes()
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

// marked is a token that the provider must be told of.
type marked struct {
	seal.Secret
	access bool // it is an access token
}

// tokensOf are the tokens that a marked record still has: the refresh token, and the one before it, which some providers
// accept for a while.
func (w *Writer) tokensOf(r *refresh.Record) ([]marked, error) {
	g, err := w.Keys.OpenGrant(r)
	if err != nil {
		return nil, err
	}
	access, err := w.Keys.OpenAccess(r)
	if err != nil {
		return nil, err
	}
	var tokens []marked
	for _, t := range []marked{{Secret: g.RefreshToken}, {Secret: g.Previous}, {access, true}} {
		if !t.IsZero() {
			tokens = append(tokens, t)
		}
	}
	return tokens, nil
}

// atProvider tells the provider until it confirms, until it says that it never will, or until patience ends.
func (c RevokeConfig) atProvider(ctx context.Context, token marked) error {
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	for wait := firstRevoke; ; wait = min(2*wait, maxRevoke) {
		err := c.overSecrets(ctx, token)
		var said *refresh.AskError
		switch {
		case err == nil:
			return nil
		case refused(err):
			return err
		case errors.As(err, &said):
			wait = max(wait, said.RetryAfter)
		}
		if !sleep.For(ctx, wait) {
			return err
		}
	}
}

// overSecrets tells the provider once, with the client secret that it accepts.
func (c RevokeConfig) overSecrets(ctx context.Context, token marked) error {
	tell := c.Revoke
	if token.access && c.RevokeAccess != nil {
		tell = c.RevokeAccess
	}
	secrets := c.Definition.ClientSecrets
	if len(secrets) == 0 {
		secrets = []seal.Secret{{}}
	}
	var err error
	for _, secret := range secrets {
		var said *refresh.AskError
		err = tell(ctx, c.Definition, secret, token.Secret)
		if !errors.As(err, &said) || said.Code != "invalid_client" {
			return err
		}
	}
	return err
}
