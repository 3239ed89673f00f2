package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
)

func (c *cli) setupCommand() *cobra.Command {
	var cfg broker.SetupConfig
	var auditAge time.Duration
	cmd := c.command("setup", "Create or check the streams, buckets and lanes", `  freshet setup --dry-run
  freshet setup --replicas 3`, cobra.NoArgs)
	cmd.Long = `Create the streams and buckets that are missing, and the lanes of the providers that were applied, and check
those that are there.

Doing it again is harmless. What differs from what Freshet needs is shown and left alone; freshet apply brings a lane
to what its provider's definition says.`
	cmd.Flags().BoolVar(&cfg.DryRun, "dry-run", false, "print what would be done and change nothing")
	cmd.Flags().IntVar(&cfg.Replicas, "replicas", 0, "copies of each asset in the NATS cluster (1, 3 or 5); 0: 1 for new ones")
	cmd.Flags().DurationVar(&auditAge, "audit-age", broker.DefaultAuditMaxAge, "how long audit entries are kept; 0: for ever. Of a stream that is there it is looked at only when given")
	cmd.Flags().DurationVar(&cfg.EventsMaxAge, "events-max-age", 0, "how long events are kept; 0: 7 days for a new stream")
	c.outputFlag(cmd, formTable, formJSON, formJSONL, formName)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case auditAge < 0:
			return usage(fmt.Errorf("--audit-age %s: want how long to keep entries, or 0", auditAge))
		case auditAge == 0:
			cfg.AuditMaxAge = broker.Forever
		case cmd.Flags().Changed("audit-age"):
			cfg.AuditMaxAge = auditAge
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		if err := b.CheckServer(); err != nil {
			return err
		}
		changes, err := c.setup(cmd.Context(), b, cfg)
		return firstError(c.printChanges(changes), err, differing(changes))
	}
	return cmd
}

// setup sets up, and writes down that it does: before, or, where the stream for it is among what is made, right after.
func (c *cli) setup(ctx context.Context, b *broker.Broker, cfg broker.SetupConfig) ([]broker.Change, error) {
	if cfg.DryRun {
		return app.Setup(ctx, b, cfg)
	}
	there, err := b.HasAudit(ctx)
	if err != nil {
		return nil, err
	}
	note := func() { c.note(ctx, b, audit.Entry{Action: audit.SetUp}) }
	if there {
		note()
	}
	changes, err := app.Setup(ctx, b, cfg)
	if !there {
		note()
	}
	return changes, err
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
