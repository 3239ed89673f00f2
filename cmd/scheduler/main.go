// The scheduler watches the records' headers and publishes a job for each credential that is due. Any number may
// run at once; it holds no key.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // cron expressions name time zones; the image has no zone files

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/flags"
)

func main() {
	log.SetOutput(io.Discard) // net/http prints stray bytes of answers there
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25) // the index holds no pointers: collecting it costs next to nothing
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "scheduler:", err)
		os.Exit(flags.ExitCode(err))
	}
}

func command() *cobra.Command {
	var common flags.Common
	cfg := app.SchedulerConfig{}
	cmd := &cobra.Command{
		Use: "scheduler", Short: "Publish a job for each credential that is due", Version: app.Version(),
		Args: func(cmd *cobra.Command, args []string) error { return flags.Usage(cobra.NoArgs(cmd, args)) },
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			return flags.Usage(flags.FromEnv(cmd.Flags(), os.Getenv))
		},
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), &common, cfg) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return flags.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	fs := cmd.Flags()
	common.Register(fs)
	fs.StringVar(&cfg.Name, "name", fmt.Sprintf("%s-%d", flags.HostName(), os.Getpid()), "name of this scheduler")
	flags.Own(fs, "name")
	return cmd
}

func run(ctx context.Context, common *flags.Common, cfg app.SchedulerConfig) (err error) {
	if cfg.Log, err = common.Logger(os.Stderr); err != nil {
		return flags.Usage(err)
	}
	names, err := common.Names()
	if err != nil {
		return flags.Usage(err)
	}
	if cfg.Conn, err = common.NATS.Connect("freshet-scheduler "+cfg.Name, app.ConnectOptions(cfg.Log)...); err != nil {
		return err
	}
	defer cfg.Conn.Close()
	cfg.Broker = broker.Config{Names: names, Domain: common.NATS.JSDomain, APIPrefix: common.NATS.JSAPIPrefix}
	return app.RunScheduler(ctx, cfg)
}
