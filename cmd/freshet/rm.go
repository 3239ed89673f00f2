package main

import (
	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) rmCommand() *cobra.Command {
	cmd := c.command("rm PROVIDER/ACCOUNT", "Remove a credential and forget its secrets", "  freshet rm acme/alice", cobra.ExactArgs(1))
	cmd.Long = `Remove a credential: its secrets are gone at once, a tombstone keeps its generation and version, so that nothing
still in flight can bring it back. The provider is not told; the grant there stays until it ends.`
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cred, err := events.ParseCredential(args[0])
		if err != nil {
			return err
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		w := enroll.Writer{Store: b, Teller: events.NewPublisher(b.JetStream(), b.Names()), Source: cliSource}
		if _, err := w.Tombstone(cmd.Context(), cred, refresh.StateDeleted); err != nil {
			return err
		}
		return c.say(nil, "%s is removed", cred)
	}
	return cmd
}
