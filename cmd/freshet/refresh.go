package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) refreshCommand() *cobra.Command {
	var wait time.Duration
	cmd := c.command("refresh PROVIDER/ACCOUNT", "Ask for a new token now and wait for it", "  freshet refresh acme/alice", cobra.ExactArgs(1))
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait")
	cmd.RunE = c.onCredential(func(ctx context.Context, b *broker.Broker, cred events.Credential) error {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		s, err := b.Get(ctx, cred)
		if err != nil {
			return fmt.Errorf("%s: %w", cred, err)
		}
		e, err := c.demand(ctx, b, cred, refresh.Job{Reason: events.ReasonDemand, GrantID: s.Record.GrantID, NewerThan: s.Record.Version})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s version %d → %d, expires %s\n", cred, s.Record.Version, e.Data.Version, relative(e.Data.ExpiresAt, time.Now()))
		return err
	})
	return cmd
}

// demand asks for a new token and waits for it, unless the lane is paused.
func (c *cli) demand(ctx context.Context, b *broker.Broker, cred events.Credential, job refresh.Job) (events.Event, error) {
	c.measureClock(ctx, b)
	entry, _, err := b.Provider(ctx, cred.Provider)
	if err != nil {
		return events.Event{}, err
	}
	if entry.Pause.Active(b.Now()) {
		return events.Event{}, fmt.Errorf("the lane %s is %w %s: freshet resume %s",
			cred.Provider, app.ErrPaused, pausedHow(entry.Pause, b.Now()), cred.Provider)
	}
	return app.Demand(ctx, b, cred, job)
}
