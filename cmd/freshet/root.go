package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/agent"
	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// The exit codes.
const (
	exitOK          = flags.ExitOK
	exitError       = flags.ExitError
	exitUsage       = flags.ExitUsage
	exitNotFound    = 3
	exitReauth      = 4 // a person must authorise again
	exitUnavailable = 5 // NATS or the provider does not answer; worth another try
)

// cli carries what the subcommands share.
type cli struct {
	in       io.Reader
	out, err io.Writer

	common flags.Common
	keys   flags.Keysets
	output string
}

func (c *cli) root() *cobra.Command {
	c.keys.Warn = func(text string) { fmt.Fprintln(c.err, "freshet:", text) }
	root := &cobra.Command{
		Use:   "freshet",
		Short: "Keep OAuth 2.0 access tokens fresh",
		Long: `Freshet keeps OAuth 2.0 access tokens fresh for any number of connected accounts.

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 a person must authorise again, 5 temporarily unavailable.`,
		Example: `  freshet dev                          see it work, nothing configured
  freshet run --store ./store -f providers.yaml
  freshet login acme/alice             authorise an account in the browser
  freshet token acme/alice             print its access token, always fresh`,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return usage(flags.FromEnv(cmd.Flags(), os.Getenv))
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	root.AddCommand(
		c.devCommand(), c.runCommand(), c.setupCommand(), c.applyCommand(), c.providersCommand(),
		c.loginCommand(), c.webCommand(), c.importCommand(), c.lsCommand(), c.showCommand(), c.tokenCommand(), c.refreshCommand(),
		c.eventsCommand(), c.auditCommand(),
		c.pauseCommand(), c.resumeCommand(), c.revokeCommand(), c.rmCommand(), c.keysCommand(),
		c.backupCommand(), c.restoreCommand(), c.permissionsCommand(), c.doctorCommand(), c.agentCommand(), c.credentialHelperCommand(), c.versionCommand(),
	)
	c.completeAll(root)
	return root
}

// group makes a command that only holds others.
func group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use + " COMMAND", Short: short, Example: example}
	cmd.AddCommand(commands...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var names []string
		for _, sub := range commands {
			names = append(names, sub.Name())
		}
		return usage(fmt.Errorf("%s: want one of: %s", strings.Join(append([]string{cmd.Name()}, args...), " "), strings.Join(names, ", ")))
	}
	return cmd
}

// command starts a subcommand that speaks to NATS.
func (c *cli) command(use, short, example string, args cobra.PositionalArgs) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Example: example, Args: usageArgs(args)}
	c.common.Register(cmd.Flags())
	return cmd
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(fmt.Errorf("%w; usage: %s", err, cmd.UseLine()))
		}
		return nil
	}
}

func usage(err error) error { return flags.Usage(err) }

// connect opens NATS for one command: it does not wait for an absent one.
func (c *cli) connect() (*broker.Broker, func(), error) {
	nc, cfg, err := c.common.Connect("freshet", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.RetryOnFailedConnect(false))...)
	if err != nil {
		return nil, nil, err
	}
	if warning := broker.Unencrypted(nc); warning != "" {
		fmt.Fprintf(c.err, "freshet: %s\n", warning)
	}
	cfg.RequestTimeout = c.common.NATS.Timeout
	b, err := broker.New(nc, cfg)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return b, nc.Close, nil
}

// measureClock makes b.Now the time of NATS, for what is written and for the pauses that are judged. Where that cannot be
// known, a person hears it and the local clock stands in.
func (c *cli) measureClock(ctx context.Context, b *broker.Broker) {
	if err := app.MeasureClock(ctx, b); err != nil && ctx.Err() == nil {
		fmt.Fprintf(c.err, "freshet: %v; this machine's clock is used\n", err)
	}
}

// onCredential is the run of a command about the one credential that its argument names.
func (c *cli) onCredential(do func(ctx context.Context, b *broker.Broker, cred events.Credential) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cred, err := events.ParseCredential(args[0])
		if err != nil {
			return err
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		return do(cmd.Context(), b, cred)
	}
}

// report prints an error and returns the exit code.
func (c *cli) report(err error) int {
	if err == nil {
		return exitOK
	}
	if exit := (*agent.ExitError)(nil); errors.As(err, &exit) {
		return exit.Code // the command has said what there is to say
	}
	text := err.Error()
	if errors.Is(err, broker.ErrNotSetUp) {
		text = "Freshet is not set up here: run freshet setup, or look for another --server or --namespace"
	}
	fmt.Fprintln(c.err, "freshet:", text)
	return exitCode(err)
}

func exitCode(err error) int {
	var failed *app.FailedError
	switch {
	case errors.Is(err, flags.ErrUsage), errors.Is(err, events.ErrName), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.Is(err, refresh.ErrNotFound), errors.Is(err, tokens.ErrNotFound), errors.Is(err, broker.ErrUnknownProvider):
		return exitNotFound
	case errors.Is(err, app.ErrReauthRequired), errors.Is(err, tokens.ErrReauthRequired), errors.Is(err, tokens.ErrRevoked):
		return exitReauth
	case errors.As(err, &failed), errors.Is(err, app.ErrPaused), errors.Is(err, tokens.ErrUnavailable), errors.Is(err, tokens.ErrExpired), errors.Is(err, tokens.ErrNotRenewed), errors.Is(err, enroll.ErrNotConfirmed),
		unavailable(err):
		return exitUnavailable
	}
	return exitError
}

func unavailable(err error) bool {
	for _, e := range []error{
		nats.ErrNoServers, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed, nats.ErrDisconnected,
		nats.ErrReconnectBufExceeded, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
