package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
)

func (c *cli) setupCommand() *cobra.Command {
	var cfg broker.SetupConfig
	cmd := c.command("setup", "Create or check the streams, buckets and lanes", `  freshet setup --dry-run
  freshet setup --replicas 3`, cobra.NoArgs)
	cmd.Long = `Create the streams and buckets that are missing, and the lanes of the providers that were applied, and check
those that are there.

Doing it again is harmless. What differs from what Freshet needs is shown and left alone; freshet apply brings a lane
to what its provider's definition says.`
	cmd.Flags().BoolVar(&cfg.DryRun, "dry-run", false, "print what would be done and change nothing")
	cmd.Flags().IntVar(&cfg.Replicas, "replicas", 0, "copies of each asset in the NATS cluster (1, 3 or 5); 0: 1 for new ones")
	cmd.Flags().DurationVar(&cfg.EventsMaxAge, "events-max-age", 0, "how long events are kept; 0: 7 days for a new stream")
	c.outputFlag(cmd, formTable, formJSON, formJSONL, formName)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		if err := b.CheckServer(); err != nil {
			return err
		}
		changes, err := app.Setup(cmd.Context(), b, cfg)
		return firstError(c.printChanges(changes), err, differing(changes))
	}
	return cmd
}

func (c *cli) printChanges(changes []broker.Change) error {
	p := c.printer("KIND", "NAME", "ACTION", "DIFFERENCES")
	for _, ch := range changes {
		if err := p.add(viewChange(ch).row()); err != nil {
			return err
		}
	}
	return p.end()
}

// differing makes a script notice assets that were left alone.
func differing(changes []broker.Change) error {
	n := 0
	for _, ch := range changes {
		if ch.Action == broker.ActionDiffer {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d assets differ and were left alone: apply the provider of a lane again, change others with the nats command line if you agree", n)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
