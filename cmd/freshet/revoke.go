package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) revokeCommand() *cobra.Command {
	var patience time.Duration
	cmd := c.command("revoke PROVIDER/ACCOUNT", "Withdraw a credential, here and at its provider", "  freshet revoke acme/alice", cobra.ExactArgs(1))
	cmd.Long = `Withdraw a credential: it is marked here first, so that nobody refreshes or reads it any more, then its provider is told,
then its secrets are forgotten. Where the provider does not confirm, run the command again: it goes on where it stopped.`
	c.keys.Register(cmd.Flags())
	cmd.Flags().DurationVar(&patience, "wait", 30*time.Second, "how long to try to tell the provider")
	cmd.RunE = c.onCredential(func(ctx context.Context, b *broker.Broker, cred events.Credential) error {
		w, err := c.writer(b)
		if err != nil {
			return err
		}
		d, err := app.OpenProvider(ctx, b, w.Keys.Grant, cred.Provider)
		if err != nil {
			return err
		}
		c.measureClock(ctx, b)
		c.note(ctx, b, revocation(ctx, w, cred))
		ask := refresh.NewAsker(nil)
		ask.Now = b.Now
		defer ask.CloseIdle()
		told, err := enroll.Revoke(ctx, enroll.RevokeConfig{Writer: w, Definition: d, Revoke: ask.Revoke, RevokeAccess: ask.RevokeAccess, Patience: patience}, cred)
		switch {
		case errors.Is(err, enroll.ErrNotConfirmed):
			return fmt.Errorf("%w; nobody uses it here any more: run freshet revoke %s again, or freshet rm %s to forget it", err, cred, cred)
		case errors.Is(err, enroll.ErrUntold):
			fmt.Fprintln(c.err, "freshet:", err)
		case err != nil:
			return err
		}
		switch {
		case told:
			return c.say(nil, "%s is revoked, here and at the provider", cred)
		case d.RevokeURL != "":
			return c.say(nil, "%s is revoked here, and nothing is left of it that its provider could be told", cred)
		default:
			return c.say(nil, "%s is revoked here; provider %s has no revoke_url, so the grant there stays until it ends", cred, cred.Provider)
		}
	})
	return cmd
}

// revocation is the audit entry of a revocation, with the tokens that are stored now.
func revocation(ctx context.Context, w *enroll.Writer, cred events.Credential) audit.Entry {
	e := audit.About(audit.Revoked, cred)
	cur, err := w.Store.Get(ctx, cred)
	if err != nil {
		return e // the revocation says why
	}
	if g, err := w.Keys.OpenGrant(&cur.Record); err == nil {
		e.Data.RefreshTokenRef = w.Keys.Grant.Reference(g.RefreshToken)
	}
	if access, err := w.Keys.OpenAccess(&cur.Record); err == nil {
		e.Data.AccessTokenRef = w.Keys.Access.Reference(access)
	}
	return e
}
