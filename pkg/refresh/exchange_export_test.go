package refresh

import (
	"net"
	"net/http"
	"net/url"
)

// UseProxy sends every request of e through a proxy, whatever the environment says.
func (e *HTTPExchange) UseProxy(proxy *url.URL) { e.dialer.proxy = http.ProxyURL(proxy) }

// JudgeAddress says why a host must not be connected to at an address, or "".
func JudgeAddress(host, address string, private bool) string {
	if err := (&guard{private: private}).check(host, address); err != nil {
		return err.Error()
	}
	return ""
}

// ResolveWith makes e resolve names with r.
func (e *HTTPExchange) ResolveWith(r *net.Resolver) {
	e.dialer.outside.resolver, e.dialer.inside.resolver = r, r
}

// ResolveWith makes a resolve names with r.
func (a *Asker) ResolveWith(r *net.Resolver) {
	for _, g := range a.routes.guards {
		g.resolver = r
	}
}
