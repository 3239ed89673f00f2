package enroll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// ErrNobodyCame: no browser came back in time.
var ErrNobodyCame = errors.New("nobody came back from the provider")

// LoginConfig describes one login. Definition, Credential and OpenBrowser or Out are required.
type LoginConfig struct {
	// Definition is the provider, with its defaults and its secrets open.
	Definition *provider.Definition
	// Credential is what the grant is stored under. Without an account it is named as the provider calls the one who agreed.
	Credential events.Credential
	// Hint tells the provider whose agreement is wanted (login_hint, OpenID Connect Core section 3.1.2.1); default: the
	// account.
	Hint string
	// Extra goes into the authorization request, such as access_type=offline.
	Extra map[string]string
	// OpenBrowser shows the address to a person, or acts as one. It may return before the person has agreed, and must
	// return when ctx ends. An error ends the login; an opener for people that finds no browser returns nil, since
	// the address is written to Out as well.
	OpenBrowser func(ctx context.Context, url string) error
	// Out is told, in words, what to do. nil: nobody is.
	Out io.Writer
	// Save stores the grant before the browser is told that it worked, such as Writer.Enroll, whose ErrUntold is no
	// reason to fail. g.Account is set. An error of it is the login's. nil: nothing is stored.
	Save func(ctx context.Context, g NewGrant) error
	// Receiver is where the browser comes back to; share one between many logins. nil: one of its own.
	Receiver *Receiver
	// Exchange talks to the token endpoint. nil: one of its own.
	Exchange *refresh.HTTPExchange
	// Timeout bounds the wait for the browser; default 10 minutes.
	Timeout time.Duration
}

// defaultTimeout is long enough for a password and a second factor, and no longer than a state should live.
const defaultTimeout = 10 * time.Minute

func (c LoginConfig) withDefaults() LoginConfig {
	c.Hint = cmp.Or(c.Hint, c.Credential.Account)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	if c.Out == nil {
		c.Out = io.Discard
	}
	if c.OpenBrowser == nil {
		c.OpenBrowser = func(context.Context, string) error { return nil }
	}
	return c
}

func (c LoginConfig) validate() error {
	var faults []error
	fault := func(text string) { faults = append(faults, errors.New(text)) }
	switch {
	case c.Definition == nil:
		fault("no provider is given")
	case c.Credential.Provider == "":
		fault("no credential is given: say PROVIDER or PROVIDER/ACCOUNT, such as " + c.Definition.Name + "/alice")
	case c.Credential.Provider != c.Definition.Name:
		fault(c.Credential.String() + " is not a credential of provider " + c.Definition.Name)
	case c.Credential.Account != "":
		faults = append(faults, c.Credential.Validate())
	}
	if c.OpenBrowser == nil && c.Out == nil {
		fault("nobody would learn the address: give OpenBrowser or Out")
	}
	return errors.Join(faults...)
}

// Login runs one authorization code flow (RFC 6749 section 4.1, with PKCE and a loopback redirect): it shows the provider's
// address, waits for the browser to come back, trades the code for tokens, saves them and shows the person what came
// of it.
//
// Errors: ErrDeclined, ErrMixUp, ErrNoAccount, ErrNoUserinfo, ErrForeignIDToken, *AuthorizationError, *ExchangeError, ErrNobodyCame, or what OpenBrowser, Save or ctx said.
func Login(ctx context.Context, cfg LoginConfig) (NewGrant, error) {
	if err := cfg.validate(); err != nil {
		return NewGrant{}, fmt.Errorf("log in: %w", err)
	}
	cfg = cfg.withDefaults()
	if cfg.Receiver == nil {
		own, err := NewReceiver()
		if err != nil {
			return NewGrant{}, fmt.Errorf("log in to %s: %w", cfg.label(), err)
		}
		defer func() { _ = own.Close() }() // it gives nothing but its port back
		cfg.Receiver = own
	}
	if cfg.Exchange == nil {
		cfg.Exchange = refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{})
		defer cfg.Exchange.CloseIdle()
	}
	p, err := cfg.Receiver.expect(cfg.Definition, cfg.label())
	if err != nil {
		return NewGrant{}, fmt.Errorf("log in to %s: %w", cfg.label(), err)
	}
	f := flow{definition: cfg.Definition, redirect: cfg.Receiver.RedirectURI(cfg.Definition), verifier: oauth2.GenerateVerifier(), exchange: cfg.Exchange}
	grant, err := cfg.run(ctx, f, p)
	if err != nil {
		return NewGrant{}, fmt.Errorf("log in to %s: %w", cfg.label(), err)
	}
	return grant, nil
}

// run goes through the flow, tells the browser how it ended, and waits for the opener.
func (c LoginConfig) run(ctx context.Context, f flow, p *pending) (NewGrant, error) {
	address, err := f.authURL(p.state, c.Hint, c.Extra)
	if err != nil {
		c.Receiver.finish(p, err)
		return NewGrant{}, err
	}
	fmt.Fprintf(c.Out, "To connect %s, agree in your browser at\n\n  %s\n\n", c.label(), address)
	o := c.open(ctx, address)
	grant, err := c.complete(ctx, f, p, o)
	c.Receiver.finish(p, err)
	o.end()
	return grant, err
}

// opening is an opener at work. err is valid once done is closed.
type opening struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

func (c LoginConfig) open(ctx context.Context, address string) *opening {
	ctx, cancel := context.WithCancel(ctx)
	o := &opening{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.err = c.OpenBrowser(ctx, address)
	}()
	return o
}

func (o *opening) end() {
	o.cancel()
	<-o.done
}

// complete waits for the code, trades it and saves what it gives.
func (c LoginConfig) complete(ctx context.Context, f flow, p *pending, o *opening) (NewGrant, error) {
	code, err := c.await(ctx, p, o)
	if err != nil {
		return NewGrant{}, err
	}
	grant, err := f.redeem(ctx, code)
	if err != nil {
		return grant, err
	}
	return nameAndSave(ctx, c.Definition, c.Credential, grant, c.Save)
}

// saveWithin bounds what happens once there are tokens: from then on nobody's leaving ends it, since they would be lost.
const saveWithin = time.Minute

// nameAndSave stores the grant once it is known whose it is.
func nameAndSave(
	ctx context.Context, d *provider.Definition, c events.Credential, g NewGrant, save func(context.Context, NewGrant) error,
) (NewGrant, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveWithin)
	defer cancel()
	g, err := named(ctx, d, c, g)
	if err != nil || save == nil {
		return g, err
	}
	return g, save(ctx, g)
}

// label is what the login is called before it is known who agrees.
func (c LoginConfig) label() string {
	if c.Credential.Account == "" {
		return c.Credential.Provider
	}
	return c.Credential.String()
}

// await waits for the code.
func (c LoginConfig) await(ctx context.Context, p *pending, o *opening) (code string, err error) {
	late := time.NewTimer(c.Timeout)
	defer late.Stop()
	opened := o.done
	for {
		select {
		case answer := <-p.arrived:
			return answer.code, answer.err
		case <-opened:
			if o.err != nil {
				return "", fmt.Errorf("open browser: %w", o.err)
			}
			opened = nil
		case <-late.C:
			return "", fmt.Errorf("%w within %s", ErrNobodyCame, c.Timeout)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// PlayBrowser returns an opener that plays the part of a person who agrees at once, at a provider that asks no questions: it
// follows the redirects until it is back at the loopback address. It is for local authorization servers.
func PlayBrowser(client *http.Client) func(ctx context.Context, url string) error {
	return func(ctx context.Context, address string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return errors.New("the address cannot be used")
		}
		resp, err := client.Do(req)
		if err != nil {
			// Its text has the address in it, and so the state.
			var wrapped *url.Error
			if errors.As(err, &wrapped) {
				err = wrapped.Err
			}
			return err
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
		back, err := url.Parse(req.URL.Query().Get("redirect_uri"))
		if at := resp.Request.URL; err != nil || at.Host != back.Host || at.Path != back.Path {
			return fmt.Errorf("the provider answered %s instead of sending the browser back", resp.Status)
		}
		return nil
	}
}
