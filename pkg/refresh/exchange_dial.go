package refresh

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/freshetdev/freshet/pkg/provider"
)

// dialer makes fenced connections.
type dialer struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	tls  *tls.Config
}

// plain makes a connection for loopback HTTP or to a proxy.
func (d dialer) plain(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	m := &meter{Conn: c}
	return newFencedConn(m, m), nil
}

// secure makes a TLS connection and finishes the handshake, so that later writes are requests. net/http
// detaches ctx from the request, hence the timeout of its own.
func (d dialer) secure(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	m := &meter{Conn: c}
	cfg := d.tls.Clone()
	if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	t := tls.Client(m, cfg)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close() // the handshake's error says more
		return nil, &handshakeError{err}
	}
	return newFencedConn(t, m), nil
}

// proxyFromEnvironment honours the usual variables for remote hosts only.
func proxyFromEnvironment(req *http.Request) (*url.URL, error) {
	if req.URL.Scheme != "https" || provider.Loopback(req.URL.Hostname()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}
