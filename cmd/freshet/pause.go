package main

import (
	"context"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

func (c *cli) pauseCommand() *cobra.Command {
	var reason string
	var lasts time.Duration
	cmd := c.command("pause PROVIDER | PROVIDER/ACCOUNT", "Stop refreshing a provider's lane or one credential", `  freshet pause acme --reason "maintenance" --for 2h
  freshet pause acme/alice`, cobra.ExactArgs(1))
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever finds the pause")
	cmd.Flags().DurationVar(&lasts, "for", 0, "end the pause by itself after this (lanes only); 0: only freshet resume ends it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p := provider.Pause{By: operator(), Reason: reason}
		credential := strings.Contains(args[0], "/")
		if credential && lasts > 0 {
			return usage(fmt.Errorf("--for is for lanes; a credential's pause ends with freshet resume %s", args[0]))
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		c.measureClock(cmd.Context(), b)
		if lasts > 0 {
			p.Until = b.Now().Add(lasts).UTC().Truncate(time.Second)
		}
		e := about(audit.Paused, args[0])
		e.Data.Detail = reason
		c.note(cmd.Context(), b, e)
		if credential {
			err = setPaused(cmd.Context(), b, args[0], &p)
		} else {
			err = app.PauseLane(cmd.Context(), b, args[0], p, cliSource)
		}
		return c.say(err, "%s is paused: freshet resume %s ends it", args[0], args[0])
	}
	return cmd
}

func (c *cli) resumeCommand() *cobra.Command {
	cmd := c.command("resume PROVIDER | PROVIDER/ACCOUNT", "Refresh a paused lane or credential again", `  freshet resume acme
  freshet resume acme/alice`, cobra.ExactArgs(1))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		c.measureClock(cmd.Context(), b)
		c.note(cmd.Context(), b, about(audit.Resumed, args[0]))
		if strings.Contains(args[0], "/") {
			err = setPaused(cmd.Context(), b, args[0], nil)
		} else {
			err = app.ResumeLane(cmd.Context(), b, args[0], operator(), cliSource)
		}
		return c.say(err, "%s is running", args[0])
	}
	return cmd
}

// say confirms to a person what worked.
func (c *cli) say(err error, format string, args ...any) error {
	if err == nil {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
	return err
}

func setPaused(ctx context.Context, b *broker.Broker, credential string, p *provider.Pause) error {
	cred, err := events.ParseCredential(credential)
	if err != nil {
		return err
	}
	w := enroll.Writer{Store: b, Now: b.Now}
	_, err = w.SetPaused(ctx, cred, p)
	return err
}

// cliSource is who tells the events of what is typed here.
const cliSource = "freshet/cli"

// operator names the person at the keyboard.
func operator() string {
	if u, err := user.Current(); err == nil {
		return "operator:" + u.Username
	}
	return "operator"
}
