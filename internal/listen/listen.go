// Package listen opens the HTTP listeners that are for programs and operators, and judges who may use them.
//
// On loopback such a listener may be open, to whoever calls it by a name of this machine. Beyond loopback it speaks TLS, and asks for a
// bearer token or a client certificate. Validate refuses anything else before a port is opened.
//
// Concurrency: a Listener is plain data; Serve owns the goroutine that it starts and waits for it.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Listener is where a server listens, and how it proves itself.
type Listener struct {
	Address  string // host:port
	CertFile string // PEM; with KeyFile it speaks TLS
	KeyFile  string
	// ClientCAFile holds the authorities, in PEM, one of which must have signed the certificate of whoever connects. "": none is
	// asked for.
	ClientCAFile string
}

// TLS reports whether the listener speaks it.
func (l Listener) TLS() bool { return l.CertFile != "" }

// Check returns what is wrong with the form of a listener, by the names of the flags that begin with prefix.
func (l Listener) Check(prefix string) (faults []error) {
	if _, _, err := net.SplitHostPort(l.Address); err != nil {
		faults = append(faults, fmt.Errorf("--%slisten %q: want HOST:PORT", prefix, l.Address))
	}
	if (l.CertFile == "") != (l.KeyFile == "") {
		faults = append(faults, fmt.Errorf("--%[1]stls-cert and --%[1]stls-key: give both or neither", prefix))
	}
	if l.ClientCAFile != "" && !l.TLS() {
		faults = append(faults, fmt.Errorf("--%[1]sclient-ca: needs --%[1]stls-cert and --%[1]stls-key", prefix))
	}
	return faults
}

// CheckGuard returns what keeps a listener from being one that only those reach who may; token says whether one is asked for.
func (l Listener) CheckGuard(prefix string, token bool) (faults []error) {
	if Loopback(l.Address) {
		return nil
	}
	if !l.TLS() {
		faults = append(faults, fmt.Errorf("--%[1]slisten %[2]s: beyond loopback it needs TLS: give --%[1]stls-cert and --%[1]stls-key", prefix, l.Address))
	}
	if !token && l.ClientCAFile == "" {
		faults = append(faults, fmt.Errorf("--%[1]slisten %[2]s: beyond loopback it needs to know who asks: give --%[1]stoken-file or --%[1]sclient-ca", prefix, l.Address))
	}
	return faults
}

// Open listens, with TLS where there is a certificate, whose files are read again when they change; log hears of that.
func (l Listener) Open(ctx context.Context, log zerolog.Logger) (net.Listener, error) {
	if !l.TLS() {
		return (&net.ListenConfig{}).Listen(ctx, "tcp", l.Address)
	}
	settings, err := l.Certificates(log)
	if err != nil {
		return nil, err
	}
	inner, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(inner, settings), nil
}

// Certificates returns the TLS settings of a listener, which follow its files. Errors: what keeps the files from being used now.
func (l Listener) Certificates(log zerolog.Logger) (*tls.Config, error) {
	c, err := openCertificates(l, log)
	if err != nil {
		return nil, err
	}
	return c.config(), nil
}

// Loopback reports whether only this machine can reach a host:port.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// leastToken is as short as a token may be that nobody guesses.
const leastToken = 16

// ReadToken reads the bearer token that a listener asks for from the file that a flag names; without a file there is none.
func ReadToken(flag, file string) (seal.Secret, error) {
	if file == "" {
		return seal.Secret{}, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return seal.Secret{}, fmt.Errorf("read token of %s: %w", flag, err)
	}
	token := strings.TrimSpace(string(data))
	if len(token) < leastToken || strings.ContainsAny(token, " \t\r\n") {
		return seal.Secret{}, fmt.Errorf("%s %s: want one word of %d characters or more", flag, file, leastToken)
	}
	return seal.NewSecret(token), nil
}

// Refuse says with which status, and in what words, a request is refused; 0: it is not. With a token it must be shown (RFC 6750).
// Without one, those come through whose certificate was checked before, and those on this machine, by its own name, so that no web
// page reaches a listener through a name that somebody made resolve to loopback.
func Refuse(req *http.Request, token seal.Secret) (status int, why string) {
	switch {
	case !token.IsZero():
		scheme, shown, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || !token.Equal(seal.NewSecret(strings.TrimSpace(shown))) {
			return http.StatusUnauthorized, "show the token: Authorization: Bearer ..."
		}
	case req.TLS != nil && len(req.TLS.VerifiedChains) > 0:
	case !localHost(req.Host):
		return http.StatusForbidden, "without a token this listener answers to loopback names only, such as localhost"
	}
	return 0, ""
}

// localHost reports whether a Host header names this machine.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return provider.Loopback(strings.Trim(host, "[]"))
}

// Server returns an HTTP server that holds out against slow and silent clients. writeWithin bounds an answer; 0: nothing does.
func Server(h http.Handler, writeWithin time.Duration) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		WriteTimeout: writeWithin, MaxHeaderBytes: 64 << 10, // codes may be JWTs of several kilobytes
		ErrorLog: log.New(io.Discard, "", 0), // it would quote requests
	}
}

// Serve serves until ctx ends, and then what is under way, for stopWithin at most.
func Serve(ctx context.Context, l net.Listener, srv *http.Server, stopWithin time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	err := srv.Shutdown(stopping)
	if err != nil {
		_ = srv.Close() // somebody holds on
	}
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
