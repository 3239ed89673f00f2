package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) rmCommand() *cobra.Command {
	cmd := c.command("rm PROVIDER/ACCOUNT", "Remove a credential and forget its secrets", "  freshet rm acme/alice", cobra.ExactArgs(1))
	cmd.Long = `Remove a credential: its secrets are gone at once, a tombstone keeps its generation and version, so that nothing
still in flight can bring it back. The provider is not told, so the grant there stays until it ends: freshet revoke first ends it.`
	cmd.RunE = c.onCredential(func(ctx context.Context, b *broker.Broker, cred events.Credential) error {
		c.measureClock(ctx, b)
		c.note(ctx, b, audit.About(audit.Deleted, cred))
		w := enroll.Writer{Store: b, Teller: b.Publisher(), Source: cliSource, Now: b.Now}
		if _, err := w.Tombstone(ctx, cred, refresh.StateDeleted); err != nil {
			return err
		}
		return c.say(nil, "%s is removed", cred)
	})
	return cmd
}
