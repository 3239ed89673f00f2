package refresh

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/proxy"

	"github.com/freshetdev/freshet/pkg/provider"
)

// dialer makes connections to token endpoints.
type dialer struct {
	dial  dialFunc // to proxies; where there is no guard, to everywhere
	tls   *tls.Config
	proxy func(*http.Request) (*url.URL, error)
	// outside and inside guard the way to providers, without and with private addresses.
	outside, inside *guard
}

// connect makes a connection for requests to u, through the proxy if it is not nil. Over TLS the handshake is done, so that later
// writes are requests.
func (d dialer) connect(ctx context.Context, u, through *url.URL, to route) (*conn, error) {
	c, err := d.reach(ctx, through, address(u), d.guard(to))
	if err != nil {
		return nil, err
	}
	m := &meter{Conn: c}
	if u.Scheme == "https" {
		secure, err := d.secure(ctx, m, u.Hostname())
		if err != nil {
			return nil, err
		}
		return newConn(secure, m, to), nil
	}
	return newConn(m, m, to), nil
}

// guard is the one on the way, nil if there is none.
func (d dialer) guard(to route) *guard {
	if to.private {
		return d.inside
	}
	return d.outside
}

func routeOf(u, through *url.URL, private bool) route {
	r := route{scheme: u.Scheme, host: u.Host, private: private}
	if through != nil {
		r.proxy = through.String()
	}
	return r
}

// address is where a URL is served.
func address(u *url.URL) string {
	port := map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port, "80"))
}

// secure makes TLS of a connection, or closes it.
func (d dialer) secure(ctx context.Context, c net.Conn, host string) (*tls.Conn, error) {
	cfg := d.tls.Clone()
	cfg.ServerName = host
	t := tls.Client(c, cfg)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close() // the handshake's error says more
		return nil, &handshakeError{err}
	}
	return t, nil
}

// reach makes a connection to addr, as far as TCP, or the proxy, goes. g is nil where nothing is guarded.
func (d dialer) reach(ctx context.Context, through *url.URL, addr string, g *guard) (net.Conn, error) {
	if err := g.checkLiteral(addr); err != nil {
		return nil, err
	}
	switch {
	case through == nil && g != nil:
		return g.direct(ctx, addr)
	case through == nil:
		return d.dial(ctx, "tcp", addr)
	case through.Scheme == "http", through.Scheme == "https":
		return d.tunnel(ctx, through, addr)
	}
	// SOCKS5; anything else it refuses.
	socks, err := proxy.FromURL(through, forward(d.dial))
	if err != nil {
		return nil, requestError("the proxy's URL is not of the kind http, https or socks5")
	}
	return socks.(proxy.ContextDialer).DialContext(ctx, "tcp", addr) //nolint:forcetypeassert // what FromURL makes of SOCKS5 is one
}

// forward is a dial function in the form that package proxy wants.
type forward func(ctx context.Context, network, addr string) (net.Conn, error)

// Dial implements proxy.Dialer.
func (f forward) Dial(network, addr string) (net.Conn, error) {
	return f(context.Background(), network, addr)
}

// DialContext implements proxy.ContextDialer.
func (f forward) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return f(ctx, network, addr)
}

var errProxy = errors.New("the proxy made no connection")

// tunnel asks an HTTP proxy for a connection (RFC 9110 section 9.3.6).
func (d dialer) tunnel(ctx context.Context, through *url.URL, addr string) (net.Conn, error) {
	c, err := d.dial(ctx, "tcp", address(through))
	if err != nil {
		return nil, err
	}
	if through.Scheme == "https" {
		if c, err = d.secure(ctx, c, through.Hostname()); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := askProxy(c, through, addr); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// askProxy sends CONNECT and reads the answer, which nothing may follow: the server speaks second in TLS.
func askProxy(c net.Conn, through *url.URL, addr string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if u := through.User; u != nil {
		password, _ := u.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := req.Write(c); err != nil {
		return fmt.Errorf("ask the proxy: %w", err)
	}
	in := bufio.NewReader(&window{from: c, left: maxReplyHeader})
	resp, err := http.ReadResponse(in, req) //nolint:bodyclose // what follows is no body but the tunnel
	if err != nil {
		return fmt.Errorf("ask the proxy: %w", err)
	}
	if resp.StatusCode/100 != 2 || in.Buffered() > 0 {
		return fmt.Errorf("%w: HTTP %d", errProxy, resp.StatusCode)
	}
	return nil
}

// proxyFromEnvironment honours the usual variables for remote hosts only.
func proxyFromEnvironment(req *http.Request) (*url.URL, error) {
	if req.URL.Scheme != "https" || provider.Loopback(req.URL.Hostname()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}
