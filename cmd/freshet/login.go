package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) loginCommand() *cobra.Command {
	var noBrowser bool
	cmd := c.command("login PROVIDER/ACCOUNT", "Authorise an account in the browser", `  freshet login acme/alice
  freshet login acme/alice --no-browser`, cobra.ExactArgs(1))
	cmd.Long = `Authorise an account: authorization code with PKCE, through your browser and a loopback address of this machine.
An account that is there already gets a new grant.`
	c.keys.Register(cmd.Flags())
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "print the address and open nothing")
	cmd.RunE = c.onCredential(func(ctx context.Context, b *broker.Broker, cred events.Credential) error {
		w, err := c.writer(b)
		if err != nil {
			return err
		}
		d, err := app.OpenProvider(ctx, b, w.Keys.Grant, cred.Provider)
		if err != nil {
			return err
		}
		c.measureClock(ctx, b)
		var stored refresh.Stored
		cfg := enroll.LoginConfig{Definition: d, Credential: cred, Out: c.err, Save: func(ctx context.Context, g enroll.NewGrant) error {
			var err error
			stored, err = w.Enroll(ctx, d, cred, g)
			if errors.Is(err, enroll.ErrUntold) {
				fmt.Fprintln(c.err, "freshet:", err)
				return nil
			}
			return err
		}}
		if !noBrowser {
			cfg.OpenBrowser = openBrowser
		}
		if _, err := enroll.Login(ctx, cfg); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s generation %d version %d\n", cred, stored.Record.Generation, stored.Record.Version)
		return err
	})
	return cmd
}

// writer returns what stores grants. Before it does, the clock must have been measured.
func (c *cli) writer(b *broker.Broker) (*enroll.Writer, error) {
	grant, access, err := c.keys.Both()
	if err != nil {
		return nil, err
	}
	return &enroll.Writer{
		Store: b, Teller: events.NewPublisher(b.JetStream(), b.Names()), Source: cliSource, Now: b.Now,
		Keys: refresh.Keys{Bucket: b.Names().TokensBucket(), Grant: grant, Access: access},
	}, nil
}

// openBrowser asks the desktop to open the address. Where there is none the person has it in the terminal.
func openBrowser(_ context.Context, url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	cmd := exec.Command(name, args...)
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // a browser in the foreground outlives the login
	}
	return nil
}
