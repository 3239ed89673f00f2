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
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
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

// Config configures a Prober. The zero value works.
type Config struct {
	// RootCAs verify the provider's endpoints. nil: the system's.
	RootCAs *x509.CertPool
	// Timeout bounds each request but those for tokens, which take the provider's own. Default 10s.
	Timeout time.Duration
}

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 1 << 20 // bytes of a metadata document
	userAgent      = "freshet"
)

// Prober makes probes.
type Prober struct {
	transport *http.Transport
	exchange  *refresh.HTTPExchange
	timeout   time.Duration
}

// New returns a prober.
func New(cfg Config) *Prober {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Prober{
		timeout:  cfg.Timeout,
		exchange: refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{RootCAs: cfg.RootCAs}),
		transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: cfg.Timeout,
			DisableKeepAlives:   true,
		},
	}
}

// Probe checks a definition with its defaults, one check after the other; it stops when ctx ends. Checks quote no secret.
func (p *Prober) Probe(ctx context.Context, d *provider.Definition) ([]Check, error) {
	var checks []Check
	for _, e := range []struct{ name, url string }{
		{"auth_url", d.AuthURL}, {"token_url", d.TokenURL}, {"device_url", d.DeviceURL},
		{"revoke_url", d.RevokeURL}, {"introspect_url", d.IntrospectURL},
	} {
		if e.url != "" {
			checks = append(checks, p.endpoint(ctx, e.name, e.url))
		}
	}
	if d.Issuer != "" {
		checks = append(checks, p.metadata(ctx, d)...)
	}
	checks = append(checks, p.client(ctx, d)...)
	return checks, ctx.Err()
}

// endpoint asks for a page without parameters: any answer shows that name, route, certificate and server are there.
func (p *Prober) endpoint(ctx context.Context, name, address string) Check {
	status, _, err := p.get(ctx, address)
	if err != nil {
		return Check{name, Fail, err.Error(), "check the address, the name's resolution and the way out of here (proxy, firewall)"}
	}
	c := Check{Name: name, Result: OK, Found: fmt.Sprintf("%s answers (HTTP %d)", hostOf(address), status)}
	switch {
	case status >= http.StatusInternalServerError && status != http.StatusNotImplemented:
		c.Result, c.Advice = Warn, "the server is in trouble: try again later"
	case name == "auth_url" && (status == http.StatusNotFound || status == http.StatusGone):
		c.Result, c.Advice = Warn, "the page is not there: check the path"
	}
	return c
}

// get follows no redirect.
func (p *Prober) get(ctx context.Context, address string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, errors.New("the address cannot be used")
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json, */*")
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %s", hostOf(address), printable(err.Error()))
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
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
