package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshetdev/freshet/internal/agent"
	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func (c *cli) loginCommand() *cobra.Command {
	var how loginFlags
	cmd := c.command("login PROVIDER[/ACCOUNT]", "Authorise an account in the browser", `  freshet login acme/alice
  freshet login acme                                  named as the provider calls you
  freshet login acme/alice --no-browser
  freshet login acme/alice --device                   agree on another device
  freshet login robot/reports --subject reports@example.com`, cobra.ExactArgs(1))
	cmd.Long = `Authorise an account: authorization code with PKCE, through your browser and a loopback address of this machine.
An account that is there already gets a new grant. Without an account it is named as the provider calls the one who
agreed: the username, else the verified email address, else the subject of the ID token, of userinfo, or of the answer with the tokens.

With --device nothing of this machine is opened: a code is shown, to be entered in a browser anywhere (RFC 8628).

Where the provider's grant type needs nobody (client_credentials, jwt_bearer) no browser is opened: the first token is
asked for at once, and each later one when it is due. With jwt_bearer it is a token for the account, or for --subject.`
	c.keys.Register(cmd.Flags())
	cmd.Flags().BoolVar(&how.noBrowser, "no-browser", false, "print the address and open nothing")
	cmd.Flags().BoolVar(&how.device, "device", false, "show a code to enter on another device")
	cmd.Flags().StringVar(&how.subject, "subject", "", "with grant jwt_bearer: for whom the token is; default: the account")
	cmd.RunE = c.onProvider(func(ctx context.Context, b *broker.Broker, cred events.Credential) error {
		w, err := c.writer(b)
		if err != nil {
			return err
		}
		d, err := app.OpenProvider(ctx, b, w.Keys.Grant, cred.Provider)
		if err != nil {
			return err
		}
		c.measureClock(ctx, b)
		e := enrolment{cli: c, log: c.auditLog(b), writer: w, definition: d, credential: cred}
		if err := e.run(ctx, how); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s generation %d version %d\n", e.credential, e.stored.Record.Generation, e.stored.Record.Version)
		return err
	})
	return cmd
}

// loginFlags say how to log in.
type loginFlags struct {
	noBrowser, device bool
	subject           string
}

// onProvider is the run of a command whose argument names a provider, and perhaps one of its accounts.
func (c *cli) onProvider(do func(ctx context.Context, b *broker.Broker, cred events.Credential) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if strings.Contains(args[0], "/") {
			return c.onCredential(do)(cmd, args)
		}
		if !events.ValidProvider(args[0]) {
			return fmt.Errorf("%w: provider %q", events.ErrName, args[0])
		}
		b, closeConn, err := c.connect()
		if err != nil {
			return err
		}
		defer closeConn()
		return do(cmd.Context(), b, events.Credential{Provider: args[0]})
	}
}

// enrolment is one login and what it stored.
type enrolment struct {
	cli        *cli
	log        *audit.Log
	via        string
	writer     *enroll.Writer
	definition *provider.Definition
	credential events.Credential
	stored     refresh.Stored
	exchange   *refresh.HTTPExchange
}

// run logs in by the way that the provider's grant type and the flags ask for.
func (e *enrolment) run(ctx context.Context, how loginFlags) error {
	e.exchange = refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Now: e.writer.Now})
	defer e.exchange.CloseIdle()
	switch {
	case e.definition.Grant.Remints() && e.credential.Account == "":
		return usage(fmt.Errorf("nobody agrees here who would have a name: say %s/ACCOUNT", e.definition.Name))
	case e.definition.Grant.Remints():
		e.via = "mint"
		return e.mint(ctx, how.subject)
	case how.subject != "":
		return usage(enroll.ErrNoSubject)
	case how.device:
		e.via = "device"
		return e.device(ctx)
	}
	e.via = "login"
	return e.person(ctx, how.noBrowser)
}

// person goes through the authorization code flow.
func (e *enrolment) person(ctx context.Context, noBrowser bool) error {
	cfg := enroll.LoginConfig{Definition: e.definition, Credential: e.credential, Out: e.cli.err, Save: e.save, Exchange: e.exchange}
	if !noBrowser {
		cfg.OpenBrowser = openBrowser
	}
	_, err := enroll.Login(ctx, cfg)
	return err
}

// mint asks for a token that needs nobody.
func (e *enrolment) mint(ctx context.Context, subject string) error {
	g, err := enroll.Mint(ctx, enroll.MintConfig{Definition: e.definition, Credential: e.credential, Subject: subject, Exchange: e.exchange})
	if err != nil {
		return err
	}
	return e.save(ctx, g)
}

func (e *enrolment) save(ctx context.Context, g enroll.NewGrant) error {
	if g.Account != "" {
		e.credential.Account = g.Account
	}
	entry := audit.About(audit.Enrolled, e.credential)
	entry.Data.Via, entry.Data.RefreshTokenRef = e.via, e.writer.Keys.Grant.Reference(g.RefreshToken)
	e.log.Note(ctx, entry)
	var err error
	e.stored, err = e.writer.Enroll(ctx, e.definition, e.credential, g)
	if errors.Is(err, enroll.ErrUntold) {
		fmt.Fprintln(e.cli.err, "freshet:", err)
		err = nil
	}
	if missing := e.stored.Record.Narrowed; len(missing) > 0 && err == nil {
		fmt.Fprintf(e.cli.err, "freshet: asked for and not granted: %s\n", strings.Join(missing, " "))
	}
	return err
}

// writer returns what stores grants. Before it does, the clock must have been measured.
func (c *cli) writer(b *broker.Broker) (*enroll.Writer, error) {
	grant, access, err := c.keys.Both()
	if err != nil {
		return nil, err
	}
	return &enroll.Writer{
		Store: b, Teller: b.Publisher(), Source: cliSource, Now: b.Now,
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
	cmd.Env = agent.Inherited(os.Environ())
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // a browser in the foreground outlives the login
	}
	return nil
}
