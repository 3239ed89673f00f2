package main

import (
	"context"
	"errors"
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
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cred, err := events.ParseCredential(args[0])
		if err != nil {
			return err
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		ctx, cancel := context.WithTimeout(cmd.Context(), wait)
		defer cancel()
		s, err := b.Get(ctx, cred)
		if err != nil {
			return fmt.Errorf("%s: %w", cred, err)
		}
		if err := refreshable(&s.Record); err != nil {
			return err
		}
		e, err := demand(ctx, b, cred, refresh.Job{Reason: events.ReasonDemand, GrantID: s.Record.GrantID, NewerThan: s.Record.Version})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s version %d → %d, expires %s\n", cred, s.Record.Version, e.Data.Version, relative(e.Data.ExpiresAt, time.Now()))
		return err
	}
	return cmd
}

// laneWithin bounds the question why nobody answered.
const laneWithin = 2 * time.Second

// demand asks for a new token and waits for it. When nobody answers it says so if the lane is paused.
func demand(ctx context.Context, b *broker.Broker, cred events.Credential, job refresh.Job) (events.Event, error) {
	e, err := app.Demand(ctx, b, cred, job)
	if !errors.Is(err, context.DeadlineExceeded) {
		return e, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), laneWithin)
	defer cancel()
	entry, _, asked := b.Provider(ctx, cred.Provider)
	if asked == nil && entry.Pause.Active(time.Now()) {
		err = fmt.Errorf("%w; the lane is %s: freshet resume %s", err, laneState(entry.Pause), cred.Provider)
	}
	return e, err
}

// refreshable says at once what no worker could change.
func refreshable(r *refresh.Record) error {
	switch {
	case r.State.Withdrawn():
		return fmt.Errorf("%w: %s is %s", refresh.ErrNotFound, r.Credential(), r.State)
	case r.State == refresh.StateReauthRequired:
		return fmt.Errorf("%w: freshet login %s", app.ErrReauthRequired, r.Credential())
	case r.Paused != nil:
		return fmt.Errorf("%s is paused by %s: freshet resume %s", r.Credential(), r.Paused.By, r.Credential())
	}
	return nil
}
