package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/solo"
	"github.com/freshetdev/freshet/internal/telemetry"
)

func (c *cli) devCommand() *cobra.Command {
	cfg := solo.DevConfig{}
	common := flags.Common{}
	var shows flags.Telemetry
	var rotation string
	cmd := &cobra.Command{
		Use: "dev", Short: "See it work: everything in one process, nothing configured", Args: usageArgs(cobra.NoArgs),
		Long: `Run NATS, a strict local authorization server, a scheduler and two workers in one process, enrol demo accounts
through the real authorization code exchange, and print a line for each event. In the end the authorization server's
own ledger is compared with what is stored and what was told; the exit code is 1 when they do not agree, or when a
token that lives 10 seconds or more was not renewed in time.

Everything is on loopback, in a temporary directory, and gone afterwards.`,
		Example: `  freshet dev
  freshet dev --for 30s                ends by itself, with a summary
  freshet dev --credentials 200 --lifetime 20s --rotation grace`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg.Rotation, cfg.Out = authserver.Rotation(rotation), c.out
			if err := cfg.Validate(); err != nil {
				return usage(err)
			}
			if cfg.Log, err = common.Logger(c.err); err != nil {
				return usage(err)
			}
			return shown(cmd.Context(), &shows, show{"dev", cfg.Log}, func(ctx context.Context, t *telemetry.Telemetry) error {
				cfg.Telemetry = t
				return otherPort(solo.Dev(ctx, cfg))
			})
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&cfg.Credentials, "credentials", 50, "demo credentials to enrol")
	fs.DurationVar(&cfg.Lifetime, "lifetime", 30*time.Second, "how long an access token lives")
	fs.StringVar(&rotation, "rotation", string(authserver.RotationStrict), "rotation class of the authorization server: none, overlap, grace, until_used or strict")
	fs.IntVar(&cfg.Port, "nats-port", 0, "NATS `port` on loopback; 0: a free one")
	fs.IntVar(&cfg.AuthPort, "auth-port", 0, "`port` of the authorization server on loopback; 0: a free one")
	fs.Uint64Var(&cfg.Seed, "seed", 0, "seed of the authorization server; 0: random")
	fs.DurationVar(&cfg.For, "for", 0, "end after this, with a summary; 0: until Ctrl-C")
	fs.StringVar(&common.LogLevel, "log-level", "warn", "least level logged: debug, info, warn or error")
	flags.Own(fs, "log-level")
	shows.Register(fs)
	shows.RegisterTracing(fs)
	return cmd
}

// otherPort says what to do about a taken port.
func otherPort(err error) error {
	if errors.Is(err, embedded.ErrPortTaken) {
		return fmt.Errorf("%w: stop it, or give another --nats-port (0 picks a free one)", err)
	}
	return err
}
