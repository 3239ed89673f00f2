package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/nats-io/nats.go"
)

// Unencrypted says of a connection that goes beyond this machine without TLS what others on the way can read, and what to do. "": it
// does not, or there is no connection now.
func Unencrypted(nc *nats.Conn) string {
	if stays(nc.ConnectedAddr()) || nc.TLSRequired() {
		return ""
	}
	// Asked last, of a server that leaves TLS to its clients: nats.go looks at the connection's status there without its lock.
	if _, err := nc.TLSConnectionState(); !errors.Is(err, nats.ErrConnectionNotTLS) {
		return ""
	}
	return "the connection to NATS is not encrypted: others on the way can read the password or token that it shows, and which accounts there are; " +
		"add a tls block to nats-server's configuration, and use tls:// in --server"
}

// stays reports whether an address does not leave the machine; one inside the process has none.
func stays(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// refusals are the alerts by which a server refuses a client (RFC 8446, section 6.2). crypto/tls has them as text alone.
var refusals = []struct{ alert, advice string }{
	{"tls: certificate required", "this NATS server asks for a client certificate: give one with --tlscert and --tlskey"},
	{"tls: expired certificate", "the client certificate of --tlscert has ended: renew it; a process that runs reads the new one by itself"},
	{"tls: unknown certificate authority", "this NATS server does not know the authority of the client certificate: give one that it trusts with --tlscert and --tlskey"},
	// TLS 1.2 has one alert for a certificate that is missing and for one that is no good.
	{"tls: bad certificate", "this NATS server does not take the client certificate, or asks for one: see to --tlscert and --tlskey"},
	{"tls: handshake failure", "this NATS server refuses the handshake: it may ask for a client certificate: give one with --tlscert and --tlskey"},
	{"connection closed by remote after TLS handshake", "this NATS server hung up after the handshake: it may ask for a client certificate: give one with --tlscert and --tlskey"},
}

// connectAdvice says what to do about an error of connecting that comes from TLS. "": it comes from something else.
func connectAdvice(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "this NATS server speaks no TLS: add a tls block to its configuration, or look for another --server; without TLS leave out tls://, --tlsca and --tlscert"
	case errors.As(err, &unknown):
		return "the authority of this NATS server's certificate is not trusted here: give that authority's certificate with --tlsca"
	case errors.As(err, &name):
		return "this NATS server's certificate is for another name: use a name in it in --server, or add this one to it"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "this NATS server's certificate has ended or has not begun: renew it there, and see to this machine's clock"
	case errors.As(err, &noTLS):
		return "this NATS server does not begin with TLS: leave out --tlsfirst, or set handshake_first in its tls block"
	case err == io.EOF: //nolint:errorlint // as it is when nothing was said; a broken handshake has it further in
		return "this NATS server hangs up without a greeting: where its tls block has handshake_first, give --tlsfirst"
	}
	for _, r := range refusals {
		if strings.Contains(err.Error(), r.alert) {
			return r.advice
		}
	}
	return ""
}

// Advised is an error of connecting that says what to do, where it comes from TLS.
func Advised(err error) error {
	if advice := connectAdvice(err); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}
