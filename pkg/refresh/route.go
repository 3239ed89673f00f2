package refresh

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"

	"github.com/freshetdev/freshet/pkg/provider"
)

// dialFunc makes connections.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// routes are an Asker's two ways to providers: to public addresses alone, and to private ones as well. Their connections are
// kept apart, so that one made for a provider that may go inside serves no other.
type routes struct {
	public, private *http.Transport
	guards          []*guard // none with a dial of the caller's
}

// newRoutes returns both ways, each a transport on connections that its guard allows. With a dial of the caller's there is no
// guard and no proxy: it alone decides.
func newRoutes(dial dialFunc, transport func(dialFunc) *http.Transport) routes {
	if dial != nil {
		return routes{public: transport(dial), private: transport(dial)}
	}
	outside, inside := new(guard), &guard{private: true}
	r := routes{public: transport(outside.dial), private: transport(inside.dial), guards: []*guard{outside, inside}}
	r.public.Proxy, r.private.Proxy = outside.proxy, inside.proxy
	return r
}

func (r routes) of(d *provider.Definition) *http.Transport {
	if d.PrivateNetwork {
		return r.private
	}
	return r.public
}

func (r routes) closeIdle() {
	r.public.CloseIdleConnections()
	r.private.CloseIdleConnections()
}

// guard refuses connections to addresses where no provider is. It looks at each address after names were resolved, just before
// the connection is made, so a name that resolves to another address each time gains nothing. A proxy of the environment
// may be anywhere; behind it, where names are resolved, its own rules hold, and here only addresses written as such are
// looked at.
//
// Concurrency: safe for any number of goroutines.
type guard struct {
	private  bool // private addresses are allowed
	proxies  sync.Map
	resolver *net.Resolver // nil: the system's
}

// addressError says why a connection was refused. The name in it is the definition's, the address what it resolved to.
type addressError struct{ text string }

// Error implements error.
func (e *addressError) Error() string { return e.text }

// dial makes a connection to a proxy, or a guarded one.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, proxy := g.proxies.Load(addr); proxy {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
	}
	return g.direct(ctx, addr)
}

// direct makes a guarded connection.
func (g *guard) direct(ctx context.Context, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{
		Timeout: dialTimeout, Resolver: g.resolver,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error { return g.check(host, address) },
	}
	return d.DialContext(ctx, "tcp", addr)
}

// checkLiteral judges a destination that is written as an address, whoever makes the connection.
func (g *guard) checkLiteral(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if g == nil || err != nil || net.ParseIP(host) == nil {
		return nil
	}
	return g.check(host, addr)
}

// check judges the address, with its port, that a host stands for.
func (g *guard) check(host, address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return &addressError{"address cannot be judged"}
	}
	ip := at.Addr().Unmap().WithZone("")
	if provider.Loopback(host) {
		if ip.IsLoopback() {
			return nil
		}
		return &addressError{fmt.Sprintf("%s resolves to %s, which is not this machine", host, ip)}
	}
	switch kind := kindOf(ip); {
	case kind == addressPublic, kind == addressPrivate && g.private:
		return nil
	case kind == addressPrivate:
		return &addressError{fmt.Sprintf("%s is at the private address %s: if that is right, set private_network: true for the provider", host, ip)}
	default:
		return &addressError{fmt.Sprintf("%s is at the address %s, where no provider can be", host, ip)}
	}
}

// proxy is proxyFromEnvironment, and remembers which addresses are proxies.
func (g *guard) proxy(req *http.Request) (*url.URL, error) {
	u, err := proxyFromEnvironment(req)
	if u == nil || err != nil {
		return nil, err
	}
	g.proxies.Store(address(u), true)
	return u, g.checkLiteral(address(req.URL))
}

// addressKind is what an address is for.
type addressKind int

const (
	addressPublic  addressKind = iota
	addressPrivate             // of some network that is not everybody's
	addressNever               // this machine, this link, nobody, or many
)

// kindOf sorts an address by the registries of special-purpose addresses (RFC 6890 and what IANA added since).
func kindOf(ip netip.Addr) addressKind {
	if inner, ok := embedded(ip); ok {
		return kindOf(inner)
	}
	switch {
	case !ip.IsGlobalUnicast(), within(ip, neverPrefixes()):
		return addressNever
	case ip.IsPrivate(), within(ip, privatePrefixes()):
		return addressPrivate
	}
	return addressPublic
}

// neverPrefixes are those that IsGlobalUnicast lets through.
func neverPrefixes() []string {
	return []string{
		"0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", // RFC 791, 6890, 5737, 1112
		"::/96", "100::/64", "2001:db8::/32", "3fff::/20", "fec0::/10", // RFC 4291, 6666, 3849, 9637, 3879
		// Where clouds answer for their machines' credentials, beside 169.254.0.0/16 and 192.0.0.192.
		"168.63.129.16/32", "100.100.100.200/32", // Azure, Alibaba Cloud
		"fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128", // AWS, Google Cloud, Oracle Cloud, Scaleway
	}
}

// privatePrefixes are those that IsPrivate does not know.
func privatePrefixes() []string {
	return []string{"100.64.0.0/10", "198.18.0.0/15", "64:ff9b:1::/48", "2001::/23"} // RFC 6598, 2544, 8215, 2928
}

func within(ip netip.Addr, prefixes []string) bool {
	for _, p := range prefixes {
		if netip.MustParsePrefix(p).Contains(ip) {
			return true
		}
	}
	return false
}

// embedded returns the IPv4 address that an IPv6 address leads to: NAT64 (RFC 6052), 6to4 (RFC 3056).
func embedded(ip netip.Addr) (netip.Addr, bool) {
	b := ip.As16()
	switch {
	case !ip.Is6():
		return netip.Addr{}, false
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}
