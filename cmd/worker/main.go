// The worker takes refresh jobs, trades refresh tokens for new ones, stores them and tells.
package main

import (
	"context"
	"errors"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/coredump"
	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/telemetry"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(175) // little lives long, and every refresh leaves some garbage; with a thousand requests in flight this stays below 150 MB
	}
	flags.Main(command())
}

func command() *cobra.Command {
	var common flags.Common
	var keys flags.Keysets
	var shows flags.Telemetry
	cfg := app.WorkerConfig{Step: holdAt()}
	cmd := flags.Program("worker", "Refresh tokens as jobs ask for it", func(ctx context.Context) error {
		if err := complete(&cfg, &common, &keys); err != nil {
			return err
		}
		defer cfg.Conn.Close()
		defer keys.ReloadOnHangup(app.Component(cfg.Log, "worker", cfg.Name), cfg.Grant, cfg.Access)()
		return run(ctx, &shows, cfg)
	})
	cmd.Version = app.Version()
	fs := cmd.Flags()
	common.Register(fs)
	keys.Register(fs)
	shows.Register(fs)
	shows.RegisterTracing(fs)
	fs.StringVar(&cfg.Name, "name", flags.DefaultName(), "name of this worker, unique in the fleet")
	fs.StringVar(&cfg.StateDir, "state-dir", "", "`directory` for the journal; keep it across restarts")
	fs.BoolVar(&cfg.JournalSync, "journal-sync", false, "fsync every outcome before it is read")
	fs.IntVar(&cfg.Hands, "hands", 0, "attempts in flight on each lane, at most; 0: the lane's own concurrency")
	fs.StringVar(&cfg.Exchanger, "exchanger", "", "`address` unix://PATH of the process that makes the token requests; empty: this one does")
	flags.Own(fs, "name", "state-dir", "journal-sync", "hands", "exchanger")
	cmd.AddCommand(exchangerCommand())
	return cmd
}

// complete fills in what the flags lead to.
func complete(cfg *app.WorkerConfig, common *flags.Common, keys *flags.Keysets) (err error) {
	if cfg.StateDir == "" {
		return flags.Usage(errors.New("no state directory: give --state-dir DIR, a directory that outlives the process"))
	}
	if cfg.Exchanger != "" {
		if _, err := exchanger.ParseAddress(cfg.Exchanger); err != nil {
			return flags.Usage(err)
		}
	}
	if cfg.Log, err = common.Logger(os.Stderr); err != nil {
		return flags.Usage(err)
	}
	log := app.Component(cfg.Log, "worker", cfg.Name)
	if err := coredump.Never(); err != nil {
		log.Warn().Err(err).Msg("a crash may leave keys in a core dump")
	}
	keys.Warn = func(text string) { log.Warn().Msg(text) }
	if cfg.Grant, cfg.Access, err = keys.Both(); err != nil {
		return err
	}
	cfg.Conn, cfg.Broker, err = common.Connect("freshet-worker "+cfg.Name, app.ConnectOptions(log)...)
	return err
}

func run(ctx context.Context, shows *flags.Telemetry, cfg app.WorkerConfig) error {
	show, err := shows.Config("freshet-worker", app.Version(), app.Component(cfg.Log, "worker", cfg.Name))
	if err != nil {
		return err
	}
	return telemetry.Run(ctx, show, func(ctx context.Context, t *telemetry.Telemetry) error {
		cfg.Telemetry = t
		return app.RunWorker(ctx, cfg)
	})
}
