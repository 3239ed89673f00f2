// The worker takes refresh jobs, trades refresh tokens for new ones, stores them and tells.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // cron expressions name time zones; the image has no zone files

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/internal/flags"
)

func main() {
	log.SetOutput(io.Discard) // net/http prints stray bytes of answers there
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(flags.ExitCode(err))
	}
}

func command() *cobra.Command {
	var common flags.Common
	var keys flags.Keysets
	cfg := app.WorkerConfig{Step: holdAt()}
	cmd := &cobra.Command{
		Use: "worker", Short: "Refresh tokens as jobs ask for it", Version: app.Version(),
		Args: func(cmd *cobra.Command, args []string) error { return flags.Usage(cobra.NoArgs(cmd, args)) },
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			return flags.Usage(flags.FromEnv(cmd.Flags(), os.Getenv))
		},
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), &common, &keys, cfg) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return flags.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	fs := cmd.Flags()
	common.Register(fs)
	keys.Register(fs)
	fs.StringVar(&cfg.Name, "name", fmt.Sprintf("%s-%d", flags.HostName(), os.Getpid()), "name of this worker, unique in the fleet")
	fs.StringVar(&cfg.StateDir, "state-dir", "", "`directory` for the journal; keep it across restarts")
	fs.BoolVar(&cfg.JournalSync, "journal-sync", false, "fsync every outcome before it is read")
	fs.IntVar(&cfg.Hands, "hands", 0, "attempts in flight on each lane, at most; 0: the lane's own concurrency")
	fs.StringVar(&cfg.Exchanger, "exchanger", "", "`address` unix://PATH of the process that makes the token requests; empty: this one does")
	flags.Own(fs, "name", "state-dir", "journal-sync", "hands", "exchanger")
	cmd.AddCommand(exchangerCommand())
	return cmd
}

func run(ctx context.Context, common *flags.Common, keys *flags.Keysets, cfg app.WorkerConfig) (err error) {
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
	if cfg.Grant, cfg.Access, err = keys.Both(); err != nil {
		return err
	}
	names, err := common.Names()
	if err != nil {
		return flags.Usage(err)
	}
	if cfg.Conn, err = common.NATS.Connect("freshet-worker "+cfg.Name, app.ConnectOptions(cfg.Log)...); err != nil {
		return err
	}
	defer cfg.Conn.Close()
	cfg.Broker = broker.Config{Names: names, Domain: common.NATS.JSDomain, APIPrefix: common.NATS.JSAPIPrefix}
	return app.RunWorker(ctx, cfg)
}
