package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/coredump"
	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/telemetry"
)

// exchangerCommand makes the token requests for workers that are started with --exchanger.
func exchangerCommand() *cobra.Command {
	var common flags.Common
	var keys flags.Keysets
	var shows flags.Telemetry
	cfg := app.ExchangerConfig{}
	const short = "Make the token requests of the workers on this host, so that a killed worker loses no answer"
	cmd := flags.Program("exchanger", short, func(ctx context.Context) error {
		if err := completeExchanger(&cfg, &common, &keys); err != nil {
			return err
		}
		defer keys.ReloadOnHangup(cfg.Log.With().Str("component", "exchanger").Logger(), cfg.Grant, nil)()
		return runExchanger(ctx, &shows, cfg)
	})
	fs := cmd.Flags()
	fs.StringVar(&common.Namespace, "namespace", "", "namespace of the workers")
	fs.StringVar(&common.LogLevel, "log-level", "info", "least level logged: debug, info, warn or error")
	fs.StringVar(&keys.GrantFile, "grant-keyset", "", "`file` with the keyset for refresh tokens and client secrets, that of the workers")
	flags.Env(fs, "grant-keyset", "FRESHET_GRANT_KEYSET_FILE")
	fs.StringVar(&cfg.Listen, "listen", "", "`address` to listen on, unix://PATH; give the workers the same as --exchanger")
	fs.StringVar(&cfg.StateDir, "state-dir", "", "`directory` for the journal, not that of a worker; keep it across restarts")
	flags.Env(fs, "listen", "FRESHET_EXCHANGER")
	flags.Env(fs, "state-dir", "FRESHET_EXCHANGER_STATE_DIR") // FRESHET_STATE_DIR is the worker's
	flags.Own(fs, "namespace", "log-level")
	shows.Register(fs)
	return cmd
}

// completeExchanger fills in what the flags lead to.
func completeExchanger(cfg *app.ExchangerConfig, common *flags.Common, keys *flags.Keysets) (err error) {
	if cfg.Listen == "" || cfg.StateDir == "" {
		return flags.Usage(errors.New("give --listen unix://PATH and --state-dir DIR, a directory that outlives the process"))
	}
	if _, err := exchanger.ParseAddress(cfg.Listen); err != nil {
		return flags.Usage(err)
	}
	if cfg.Log, err = common.Logger(os.Stderr); err != nil {
		return flags.Usage(err)
	}
	if err := coredump.Never(); err != nil {
		cfg.Log.Warn().Err(err).Msg("a crash may leave keys in a core dump")
	}
	keys.Warn = func(text string) { cfg.Log.Warn().Str("component", "exchanger").Msg(text) }
	if cfg.Grant, err = keys.Grant(); err != nil {
		return err
	}
	if cfg.Names, err = common.Names(); err != nil {
		return flags.Usage(err)
	}
	return nil
}

func runExchanger(ctx context.Context, shows *flags.Telemetry, cfg app.ExchangerConfig) error {
	show, err := shows.Config("freshet-exchanger", app.Version(), cfg.Log.With().Str("component", "exchanger").Logger())
	if err != nil {
		return err
	}
	return telemetry.Run(ctx, show, func(ctx context.Context, t *telemetry.Telemetry) error {
		cfg.Telemetry = t
		return app.RunExchanger(ctx, cfg)
	})
}
