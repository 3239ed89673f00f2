package refresh

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// handshakeError marks an error as one of the TLS handshake, which comes before any request.
type handshakeError struct{ err error }

// Error implements error.
func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }

// Unwrap lets errors.As find the cause.
func (e *handshakeError) Unwrap() error { return e.err }

// notSentFault says why no request was sent, in words that quote neither URL nor answer, and whether
// the fault is this machine's.
func notSentFault(err error, after time.Duration) (text string, local bool) {
	var unsupported *unsupportedError
	var refused requestError
	var address *addressError
	switch {
	case errors.As(err, &unsupported):
		return unsupported.Error(), true
	case errors.As(err, &refused):
		return refused.Error(), false
	case errors.Is(err, errCancelled), errors.Is(err, errTooLate):
		return err.Error(), false
	case errors.As(err, &address):
		return printable(address.Error()), false
	case isTimeout(err):
		return "timed out after " + seconds(after) + ", nothing was sent", false
	}
	if text, local, ok := certificateFault(err); ok {
		return text, local
	}
	if text, ok := tlsFault(err); ok {
		return text, false
	}
	return networkFault(err)
}

// sentFault says why there is no whole answer. The text of the errors is not used: net/http's quotes the answer.
func sentFault(err error, after time.Duration) string {
	switch {
	case errors.Is(err, errTooLarge):
		return errTooLarge.Error()
	case isTimeout(err):
		return "timed out after " + seconds(after)
	case errors.Is(err, errCutOff):
		return errCutOff.Error()
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset after the request was sent"
	case isClosed(err):
		return "connection closed after the request was sent"
	default:
		return "answer is not HTTP, or the connection failed after the request was sent"
	}
}

func seconds(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// isClosed recognises the end of a connection.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe)
}

// certificateFault reads what the verification of the server's certificate says. An unknown authority
// is ours to mend (a trust store without the root), and so is a root that has ended; everything else is the
// provider's.
func certificateFault(err error) (text string, local, ok bool) {
	var (
		unknown x509.UnknownAuthorityError
		roots   x509.SystemRootsError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		other   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknown):
		return "TLS: certificate signed by unknown authority", true, true
	case errors.As(err, &roots):
		return "TLS: the system's trust store cannot be read", true, true
	case errors.As(err, &host):
		return "TLS: certificate is for another host", false, true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && isRoot(invalid.Cert):
		return "TLS: a root certificate of the trust store has expired", true, true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "TLS: certificate has expired or is not valid yet", false, true
	case errors.As(err, &invalid), errors.As(err, &other):
		return "TLS: certificate is not valid", false, true
	}
	return "", false, false
}

func isRoot(c *x509.Certificate) bool {
	return c != nil && c.IsCA && bytes.Equal(c.RawIssuer, c.RawSubject)
}

// tlsFault reads the rest of what a handshake may say. Alerts have fixed texts.
func tlsFault(err error) (text string, ok bool) {
	var (
		record    tls.RecordHeaderError
		op        *net.OpError
		handshake *handshakeError
	)
	switch {
	case errors.As(err, &record):
		return "TLS: the server does not speak TLS", true
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		return "TLS: " + strings.TrimPrefix(printable(op.Err.Error()), "tls: "), true
	case errors.As(err, &handshake):
		return "TLS: handshake failed", true
	}
	return "", false
}

// networkFault reads what making the connection says. "no such host" is not local: the zone is the provider's.
func networkFault(err error) (text string, local bool) {
	var (
		dns   *net.DNSError
		errno syscall.Errno
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host", false
	case errors.As(err, &dns):
		return "host name cannot be resolved", false
	case errors.As(err, &errno):
		return errno.Error(), isLocalErrno(errno)
	case isClosed(err):
		return "connection closed before anything was sent", false
	}
	return "could not connect", false
}

// isLocalErrno reports whether an error means that this machine is short of something or forbids the call.
func isLocalErrno(e syscall.Errno) bool {
	switch e {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM:
		return true
	default:
		return false
	}
}

// printable cuts a text to maxDetail bytes of printable ASCII.
func printable(s string) string {
	clean := func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}
	s = strings.Map(clean, s)
	return s[:min(len(s), maxDetail)]
}
