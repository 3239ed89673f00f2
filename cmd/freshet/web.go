package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/dashboard"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func (c *cli) webCommand() *cobra.Command {
	var cfg web.Config
	var tokenFile string
	cmd := c.command("web", "Let many people connect their accounts in a browser", `  freshet web
  freshet web --listen :8480 --public-url https://connect.example.com
  curl -d '{"provider":"acme","account":"alice"}' -H 'Content-Type: application/json' http://localhost:8481/v1/connect-links`, cobra.NoArgs)
	cmd.Long = `Serve the pages on which people connect their accounts. A program asks the admin listener for a link, for a provider and an
account; whoever opens it agrees at the provider and comes back, and the credential is stored. Any number of instances
may serve one address.

Register PUBLIC-URL/connect/PROVIDER/callback as a redirect URI with each provider. The admin listener, which has the dashboard
as well, is on loopback; beyond it, it needs TLS, and a token or client certificates.`
	c.keys.Register(cmd.Flags())
	fs := cmd.Flags()
	fs.StringVar(&cfg.Public.Address, "listen", "127.0.0.1:8480", "`address` for people: /connect/ and nothing else")
	fs.StringVar(&cfg.PublicURL, "public-url", "", "what people reach --listen by, such as https://connect.example.com; default: its address, on loopback")
	fs.StringVar(&cfg.Public.CertFile, "tls-cert", "", "`file` with the certificate of --listen; without, a proxy before it ends TLS")
	fs.StringVar(&cfg.Public.KeyFile, "tls-key", "", "`file` with its key")
	fs.StringVar(&cfg.Admin.Address, "admin-listen", "127.0.0.1:8481", "`address` of the dashboard, and for programs that ask for links")
	fs.StringVar(&cfg.Admin.CertFile, "admin-tls-cert", "", "`file` with the certificate of --admin-listen")
	fs.StringVar(&cfg.Admin.KeyFile, "admin-tls-key", "", "`file` with its key")
	fs.StringVar(&cfg.Admin.ClientCAFile, "admin-client-ca", "", "`file` with the authorities of the client certificates that --admin-listen asks for")
	fs.StringVar(&tokenFile, "admin-token-file", "", "`file` with the token that --admin-listen asks for, of 16 characters or more")
	flags.Own(fs, "listen", "public-url", "tls-cert", "tls-key", "admin-listen", "admin-tls-cert", "admin-tls-key", "admin-client-ca", "admin-token-file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if cfg.AdminToken, err = readAdminToken(tokenFile); err != nil {
			return err
		}
		if err := cfg.Validate(); err != nil {
			return usage(err)
		}
		return c.runWeb(cmd.Context(), cfg)
	}
	return cmd
}

// leastAdminToken is as short as a token may be that nobody guesses.
const leastAdminToken = 16

func readAdminToken(file string) (seal.Secret, error) {
	if file == "" {
		return seal.Secret{}, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return seal.Secret{}, fmt.Errorf("read admin token: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if len(token) < leastAdminToken || strings.ContainsAny(token, " \t\r\n") {
		return seal.Secret{}, usage(fmt.Errorf("--admin-token-file %s: want one word of %d characters or more", file, leastAdminToken))
	}
	return seal.NewSecret(token), nil
}

// runWeb opens what the pages need, waiting for NATS, and serves them.
func (c *cli) runWeb(ctx context.Context, cfg web.Config) error {
	log, err := c.common.Logger(c.err)
	if err != nil {
		return usage(err)
	}
	grant, access, err := c.keys.Both()
	if err != nil {
		return err
	}
	name := flags.DefaultName()
	cfg.Log = app.Component(log, "web", name)
	nc, at, err := c.common.Connect("freshet-web "+name, app.ConnectOptions(cfg.Log)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	b, err := app.OpenEnroller(ctx, nc, at, cfg.Log)
	if err != nil {
		if errors.Is(err, ctx.Err()) {
			return nil // asked to stop before NATS was there
		}
		return err
	}
	cfg.Broker = b
	cfg.Writer = &enroll.Writer{
		Store: b, Teller: b.Publisher(), Source: "freshet/web", Now: b.Now,
		Keys: refresh.Keys{Bucket: b.Names().TokensBucket(), Grant: grant, Access: access},
	}
	cfg.Dashboard = func(link func(context.Context, events.Credential) (string, error)) web.Dashboard {
		d := dashboard.Config{Broker: b, Link: link, Log: cfg.Log}
		if !cfg.AdminToken.IsZero() {
			d.SignOut = web.SignOutPath
		}
		return dashboard.New(d)
	}
	return web.Run(ctx, cfg)
}
