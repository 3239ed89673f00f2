// Package probe checks a provider's definition against the provider without spending a grant: are the endpoints there, does
// the published metadata say the same, is the client accepted.
//
// The client is tried with a refresh token that is invented. A provider that accepts the client refuses that token; which of
// the two it refuses is read by the classifier that reads every other answer, so a probe also shows whether the definition
// knows the provider's words.
//
// # Concurrency
//
// A Prober may be used by any number of goroutines.
package probe

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Result is what a check came to.
type Result string

// The results.
const (
	OK   Result = "ok"
	Warn Result = "warn" // a person should look: it may be right
	Fail Result = "fail" // no token can be obtained like this
)

// Check is one line of a probe.
type Check struct {
	Name   string `json:"check"`
	Result Result `json:"result"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"` // what to do
}

// Prober makes probes. Its requests go where those of workers may go, and each ends within the provider's timeout.
type Prober struct {
	ask      *refresh.Asker
	exchange *refresh.HTTPExchange
}

// New returns a prober. Close it.
func New() *Prober {
	return &Prober{ask: refresh.NewAsker(nil), exchange: refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{})}
}

// Close closes the connections that carry no request.
func (p *Prober) Close() {
	p.ask.CloseIdle()
	p.exchange.CloseIdle()
}

// Probe checks a definition with its defaults, one check after the other; it stops when ctx ends. What the definition leaves to its
// issuer's metadata is looked up, as apply does. Checks quote no secret.
func (p *Prober) Probe(ctx context.Context, d *provider.Definition) ([]Check, error) {
	d, checks := p.endpoints(ctx, d)
	return append(checks, p.client(ctx, d)...), ctx.Err()
}

// Endpoints is Probe for a definition whose secrets are not open: the client is not tried.
func (p *Prober) Endpoints(ctx context.Context, d *provider.Definition) ([]Check, error) {
	_, checks := p.endpoints(ctx, d)
	return checks, ctx.Err()
}

// endpoints returns the definition with what its issuer fills in.
func (p *Prober) endpoints(ctx context.Context, d *provider.Definition) (*provider.Definition, []Check) {
	d, published := p.metadata(ctx, d)
	var checks []Check
	for _, e := range endpointsOf(d) {
		if e.url != "" {
			checks = append(checks, p.reach(ctx, d, e))
		}
	}
	return d, append(checks, published...)
}

// endpoint is a field of a definition that has an address.
type endpoint struct{ name, url string }

func endpointsOf(d *provider.Definition) []endpoint {
	return []endpoint{
		{"auth_url", d.AuthURL}, {"token_url", d.TokenURL}, {"device_url", d.DeviceURL},
		{"revoke_url", d.RevokeURL}, {"introspect_url", d.IntrospectURL}, {"userinfo_url", d.UserinfoURL},
	}
}

// reach asks for a page without parameters: any answer shows that name, route, certificate and server are there.
func (p *Prober) reach(ctx context.Context, d *provider.Definition, e endpoint) Check {
	host := hostOf(e.url)
	status, err := p.ask.Reach(ctx, d, e.url)
	if err != nil {
		found := host + ": " + printable(err.Error())
		return Check{e.name, Fail, found, "check the address, the name's resolution and the way out of here (proxy, firewall)"}
	}
	c := Check{Name: e.name, Result: OK, Found: fmt.Sprintf("%s answers (HTTP %d)", host, status)}
	switch {
	case status >= http.StatusInternalServerError && status != http.StatusNotImplemented:
		c.Result, c.Advice = Warn, "the server is in trouble: try again later"
	case e.name == "auth_url" && (status == http.StatusNotFound || status == http.StatusGone):
		c.Result, c.Advice = Warn, "the page is not there: check the path"
	}
	return c
}

// printable keeps what a server says from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	return u.Host
}
