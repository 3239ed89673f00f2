package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/solo"
	"github.com/freshetdev/freshet/pkg/events"
)

// eventView is an event as JSON: its CloudEvents attributes and its data.
type eventView struct {
	ID     string      `json:"id"`
	Type   events.Type `json:"type"`
	Source string      `json:"source"`
	Time   time.Time   `json:"time"`
	Data   events.Data `json:"data"`
}

func (c *cli) eventsCommand() *cobra.Command {
	var since time.Duration
	var types []string
	var follow bool
	cmd := c.command("events [PROVIDER[/ACCOUNT]]", "Watch events, or replay them", `  freshet events                       as they happen
  freshet events --since 1h -o jsonl   what happened, then end
  freshet events acme --since 1h --follow`, cobra.MaximumNArgs(1))
	cmd.Flags().DurationVar(&since, "since", 0, "replay what happened in this time")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on after a replay")
	cmd.Flags().StringSliceVar(&types, "type", nil, "only these event types, such as token.updated")
	c.outputFlag(cmd, formTable, formJSONL, formName)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		filter, err := eventFilter(args, types)
		if err != nil {
			return usage(err)
		}
		if since < 0 || (follow && since == 0) {
			return usage(fmt.Errorf("--since %s: want how far back to begin, such as 1h", since))
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		cfg := events.SubscribeConfig{Names: b.Names(), Filter: filter, Follow: follow, OnError: func(err error) { fmt.Fprintln(c.err, "freshet:", err) }}
		p := c.eventPrinter(since > 0)
		if since == 0 {
			cfg.OnReady = func() { fmt.Fprintln(c.err, "waiting for events; Ctrl-C ends") }
			return ended(cmd.Context(), events.Live(cmd.Context(), b.Conn(), cfg, func(e events.Event) { _ = p(e) }))
		}
		cfg.Since = time.Now().Add(-since)
		return ended(cmd.Context(), events.Replay(cmd.Context(), b.JetStream(), cfg, func(_ context.Context, e events.Event) error { return p(e) }))
	}
	return cmd
}

func eventFilter(args, types []string) (events.Filter, error) {
	var f events.Filter
	if len(args) == 1 {
		f.Provider, f.Account, _ = strings.Cut(args[0], "/")
	}
	for _, t := range types {
		f.Types = append(f.Types, events.Type(t))
	}
	return f, f.Validate()
}

// ended makes the end that the user asked for no error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// eventPrinter prints events as they come. What is replayed may be older than today.
func (c *cli) eventPrinter(replayed bool) func(events.Event) error {
	layout := solo.Layout{Date: replayed}
	return func(e events.Event) error {
		if c.output == formTable {
			_, err := fmt.Fprintln(c.out, layout.Line(e, nil))
			return err
		}
		p := &printer{out: c.out, form: c.output}
		return p.add(row{name: e.ID, object: eventView{ID: e.ID, Type: e.Type, Source: e.Source, Time: e.Time, Data: e.Data}})
	}
}
