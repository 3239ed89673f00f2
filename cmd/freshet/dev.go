package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/solo"
)

func (c *cli) devCommand() *cobra.Command {
	cfg := solo.DevConfig{}
	common := flags.Common{LogLevel: "warn"}
	var rotation string
	cmd := &cobra.Command{
		Use: "dev", Short: "See it work: everything in one process, nothing configured", Args: usageArgs(cobra.NoArgs),
		Example: `  freshet dev
  freshet dev --for 30s                ends by itself, with a summary
  freshet dev --credentials 200 --lifetime 20s --rotation grace`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			cfg.Rotation, cfg.Out = authserver.Rotation(rotation), c.out
			switch {
			case !slices.Contains(authserver.Rotations(), cfg.Rotation):
				return usage(fmt.Errorf("--rotation %q: want one of %v", rotation, authserver.Rotations()))
			case cfg.Credentials < 1 || cfg.Credentials > 100_000:
				return usage(fmt.Errorf("--credentials %d: want 1 to 100000", cfg.Credentials))
			case cfg.Lifetime < 2*time.Second:
				return usage(fmt.Errorf("--lifetime %s: want 2s or more", cfg.Lifetime))
			}
			if cfg.Log, err = common.Logger(c.err); err != nil {
				return usage(err)
			}
			return solo.Dev(cmd.Context(), cfg)
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&cfg.Credentials, "credentials", 50, "demo credentials to enrol")
	fs.DurationVar(&cfg.Lifetime, "lifetime", 30*time.Second, "how long an access token lives")
	fs.StringVar(&rotation, "rotation", string(authserver.RotationStrict), "rotation class of the authorization server")
	fs.IntVar(&cfg.Port, "nats-port", 0, "NATS `port` on loopback; 0: a free one")
	fs.Uint64Var(&cfg.Seed, "seed", 0, "seed of the authorization server; 0: random")
	fs.DurationVar(&cfg.For, "for", 0, "end after this, with a summary; 0: until Ctrl-C")
	fs.StringVar(&common.LogLevel, "log-level", "warn", "least level logged: debug, info, warn or error")
	return cmd
}
