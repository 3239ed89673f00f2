// The scheduler watches the records' headers and publishes a job for each credential that is due. Any number may
// run at once; it holds no key.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/flags"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25) // the index holds no pointers: collecting it costs next to nothing
	}
	flags.Main(command())
}

func command() *cobra.Command {
	var common flags.Common
	cfg := app.SchedulerConfig{}
	cmd := flags.Program("scheduler", "Publish a job for each credential that is due", func(ctx context.Context) error {
		return run(ctx, &common, cfg)
	})
	cmd.Version = app.Version()
	fs := cmd.Flags()
	common.Register(fs)
	fs.StringVar(&cfg.Name, "name", flags.DefaultName(), "name of this scheduler")
	flags.Own(fs, "name")
	return cmd
}

func run(ctx context.Context, common *flags.Common, cfg app.SchedulerConfig) (err error) {
	if cfg.Log, err = common.Logger(os.Stderr); err != nil {
		return flags.Usage(err)
	}
	log := app.Component(cfg.Log, "scheduler", cfg.Name)
	if cfg.Conn, cfg.Broker, err = common.Connect("freshet-scheduler "+cfg.Name, app.ConnectOptions(log)...); err != nil {
		return err
	}
	defer cfg.Conn.Close()
	return app.RunScheduler(ctx, cfg)
}
