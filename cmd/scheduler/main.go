// The scheduler watches the records' headers and publishes a job for each credential that is due. Any number may
// run at once; it holds no key.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/telemetry"
)

func main() {
	flags.Main(command())
}

func command() *cobra.Command {
	var common flags.Common
	var shows flags.Telemetry
	cfg := app.SchedulerConfig{}
	if os.Getenv("GOGC") == "" {
		afterReading(0)
		cfg.OnReading, cfg.OnRebuilt = whileReading, afterReading
	}
	cmd := flags.Program("scheduler", "Publish a job for each credential that is due", func(ctx context.Context) error {
		return run(ctx, &common, &shows, cfg)
	})
	cmd.Version = app.Version()
	fs := cmd.Flags()
	common.Register(fs)
	shows.Register(fs)
	shows.RegisterTracing(fs)
	fs.StringVar(&cfg.Name, "name", flags.DefaultName(), "name of this scheduler")
	flags.Own(fs, "name")
	return cmd
}

func run(ctx context.Context, common *flags.Common, shows *flags.Telemetry, cfg app.SchedulerConfig) (err error) {
	if cfg.Log, err = common.Logger(os.Stderr); err != nil {
		return flags.Usage(err)
	}
	log := app.Component(cfg.Log, "scheduler", cfg.Name)
	show, err := shows.Config("freshet-scheduler", app.Version(), log)
	if err != nil {
		return err
	}
	if cfg.Conn, cfg.Broker, err = common.Connect("freshet-scheduler "+cfg.Name, app.ConnectOptions(log)...); err != nil {
		return err
	}
	defer cfg.Conn.Close()
	return telemetry.Run(ctx, show, func(ctx context.Context, t *telemetry.Telemetry) error {
		cfg.Telemetry = t
		return app.RunScheduler(ctx, cfg)
	})
}
