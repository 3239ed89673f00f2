package main

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/coredump"
	"github.com/freshetdev/freshet/internal/dashboard"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/flags"
	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// pages is what freshet web serves.
type pages struct {
	web.Config
	board bool // the dashboard too
}

func (c *cli) webCommand() *cobra.Command {
	var cfg pages
	var tokenFile string
	var shows flags.Telemetry
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
	fs.BoolVar(&cfg.board, "dashboard", true, "show the dashboard on --admin-listen; its NATS user may then list all credentials")
	flags.Own(fs, "dashboard", "listen", "public-url", "tls-cert", "tls-key", "admin-listen", "admin-tls-cert", "admin-tls-key", "admin-client-ca", "admin-token-file")
	shows.Register(fs)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if cfg.AdminToken, err = listen.ReadToken("--admin-token-file", tokenFile); err != nil {
			return usage(err)
		}
		if err := cfg.Validate(); err != nil {
			return usage(err)
		}
		return c.runWeb(cmd.Context(), &shows, cfg)
	}
	return cmd
}

// runWeb opens what the pages need, waiting for NATS, and serves them.
func (c *cli) runWeb(ctx context.Context, shows *flags.Telemetry, cfg pages) error {
	log, err := c.common.Logger(c.err)
	if err != nil {
		return usage(err)
	}
	c.noCoreDumps(coredump.Never)
	grant, access, err := c.keys.Both()
	if err != nil {
		return err
	}
	name := flags.DefaultName()
	cfg.Log = app.Component(log, "web", name)
	defer c.keys.ReloadOnHangup(cfg.Log, grant, access)()
	nc, at, err := c.common.Connect("freshet-web "+name, app.ConnectOptions(cfg.Log)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	cfg.Writer = &enroll.Writer{Source: "freshet/web", Keys: refresh.Keys{Bucket: at.Names.TokensBucket(), Grant: grant, Access: access}}
	return shown(ctx, shows, show{"web", cfg.Log}, func(ctx context.Context, t *telemetry.Telemetry) error {
		return serveWeb(ctx, t, nc, at, cfg)
	})
}

// serveWeb waits for NATS and serves the pages.
func serveWeb(ctx context.Context, t *telemetry.Telemetry, nc *nats.Conn, at broker.Config, cfg pages) error {
	begun, remove := t.Health.Starting()
	defer remove()
	defer app.ShowNATS(t, nc)()
	b, err := app.OpenEnroller(ctx, nc, at, cfg.Log)
	if err != nil {
		if errors.Is(err, ctx.Err()) {
			return nil // asked to stop before NATS was there
		}
		return err
	}
	cfg.Broker = b
	defer app.ShowBroker(t, b)()
	cfg.Writer.Store, cfg.Writer.Teller, cfg.Writer.Now = b, b.Publisher(), b.Now
	cfg.Audit = app.AuditLog(b, "freshet web", cfg.Writer.Source, func(err error) { cfg.Log.Warn().Err(err).Msg("no audit entry") })
	cfg.Ready = func(string, string) { begun() }
	if cfg.board {
		cfg.Dashboard = cfg.dashboard(b)
	}
	return web.Run(ctx, cfg.Config)
}

// dashboard is the one of the admin listener. It changes no lane: many may see it.
func (p pages) dashboard(b *broker.Broker) func(func(context.Context, events.Credential) (string, error)) web.Dashboard {
	return func(link func(context.Context, events.Credential) (string, error)) web.Dashboard {
		d := dashboard.Config{Broker: b, Link: link, Log: p.Log}
		if !p.AdminToken.IsZero() {
			d.SignOut = web.SignOutPath
		}
		return dashboard.New(d)
	}
}
