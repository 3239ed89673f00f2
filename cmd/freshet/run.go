package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/coredump"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/solo"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/seal"
)

// noCoreDumps keeps what a process that holds keys for long has in memory off the disk.
func (c *cli) noCoreDumps(off func() error) {
	if err := off(); err != nil {
		fmt.Fprintf(c.err, "freshet: %v; a crash may leave keys in a core dump\n", err)
	}
}

func (c *cli) runCommand() *cobra.Command {
	cfg := solo.RunConfig{}
	var common flags.Common
	var shows flags.Telemetry
	var file string
	cmd := &cobra.Command{
		Use: "run --store DIR", Short: "Run everything on one machine, for real", Args: usageArgs(cobra.NoArgs),
		Long: `Run scheduler, worker and a persistent NATS server in one process. Every write is on disk before it counts.

The store directory holds everything: NATS, the journal, the keysets. Back it up; keep the keysets apart as well. A SIGHUP reads the
keysets anew.`,
		Example: `  freshet run --store ./store -f providers.yaml
  freshet run --store ./store -f providers.yaml --web 127.0.0.1:8481
  source ./store/env; freshet login acme/alice      from another terminal`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := cfg.Validate(); err != nil {
				return usage(err)
			}
			if cfg.Log, err = common.Logger(c.err); err != nil {
				return usage(err)
			}
			c.noCoreDumps(coredump.Never)
			if file != "" {
				if cfg.Providers, err = c.readProviders(file); err != nil {
					return err
				}
			}
			cfg.Keys = func(grant, access *seal.Keyset, from app.KeysetFiles) func() {
				files := flags.Keysets{GrantFile: from.Grant, AccessFile: from.Access}
				return files.ReloadOnHangup(app.Component(cfg.Log, "run", flags.DefaultName()), grant, access)
			}
			cfg.Ready = func(env, dashboard string) {
				fmt.Fprintf(c.err, "freshet runs, until Ctrl-C; in another terminal: source %s\n", env)
				if dashboard != "" {
					fmt.Fprintf(c.err, "dashboard: %s\n", dashboard)
				}
			}
			return shown(cmd.Context(), &shows, show{"run", cfg.Log}, func(ctx context.Context, t *telemetry.Telemetry) error {
				cfg.Telemetry = t
				return otherPort(solo.Run(ctx, cfg))
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&cfg.StoreDir, "store", "", "`directory` that holds everything")
	fs.StringVarP(&file, "file", "f", "", "provider definitions to apply first; - reads standard input")
	fs.BoolVar(&cfg.MoveGrants, "move-grants", false, moveGrantsUsage)
	fs.IntVar(&cfg.Port, "nats-port", 4222, "NATS `port` on loopback; 0: a free one")
	fs.StringVar(&cfg.Web, "web", "", "serve the dashboard, and the pages to connect accounts, at this `address` on loopback, such as 127.0.0.1:8481")
	fs.StringVar(&common.LogLevel, "log-level", "info", "least level logged: debug, info, warn or error")
	flags.Own(fs, "store", "web", "log-level")
	shows.Register(fs)
	shows.RegisterTracing(fs)
	return cmd
}
