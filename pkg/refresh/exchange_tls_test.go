package refresh_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

func rootsOf(srv *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return roots
}

// testCA signs certificates that are valid from one hour ago.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newTestCA(t *testing.T, until time.Time) testCA {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageCertSign,
	}
	var ca testCA
	ca.cert, ca.key = signCert(t, c, c, nil)
	return ca
}

func (ca testCA) leaf(t *testing.T, host string, until time.Time) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, key := signCert(t, c, ca.cert, ca.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// signCert signs with parentKey, or with the new key where it is nil.
func signCert(t *testing.T, c, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// Which side's fault a failed handshake is decides whether this worker leaves the lane.
func TestExchangeTellsWhoseTLSFaultItIs(t *testing.T) {
	t.Parallel()
	ahead, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	good, ended, stranger := newTestCA(t, ahead), newTestCA(t, past), newTestCA(t, ahead)
	tests := map[string]struct {
		cert    tls.Certificate
		trusted testCA
		change  func(*tls.Config)
		phase   refresh.Phase
		wantErr string
		local   bool
	}{
		"good":                     {cert: good.leaf(t, "as.example", ahead), trusted: good, phase: refresh.PhaseAnswered},
		"unknown authority":        {cert: stranger.leaf(t, "as.example", ahead), trusted: good, wantErr: "unknown authority", local: true},
		"root has expired":         {cert: ended.leaf(t, "as.example", ahead), trusted: ended, wantErr: "root certificate of the trust store has expired", local: true},
		"server's has expired":     {cert: good.leaf(t, "as.example", past), trusted: good, wantErr: "certificate has expired"},
		"certificate of another":   {cert: good.leaf(t, "other.example", ahead), trusted: good, wantErr: "for another host"},
		"server wants old TLS":     {cert: good.leaf(t, "as.example", ahead), trusted: good, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }, wantErr: "TLS: "},
		"server refuses protocols": {cert: good.leaf(t, "as.example", ahead), trusted: good, change: func(c *tls.Config) { c.NextProtos = []string{"other"} }, wantErr: "TLS: no application protocol"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodReply) }))
			srv.Config.ErrorLog = quietLog()
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{tt.cert}, MinVersion: tls.VersionTLS10, NextProtos: []string{"http/1.1"}}
			if tt.change != nil {
				tt.change(srv.TLS)
			}
			l := tls.NewListener(srv.Listener, srv.TLS)
			srv.Listener, srv.TLS = l, nil
			srv.Start()
			defer srv.Close()
			roots := x509.NewCertPool()
			roots.AddCert(tt.trusted.cert)
			e := newTestExchange(t, refresh.HTTPExchangeConfig{RootCAs: roots, Dial: dialTo(l.Addr().String())})
			req := exchangeRequest("https://as.example/token")
			o := e.Exchange(t.Context(), req)
			if tt.phase == refresh.PhaseAnswered {
				wantOutcome(t, o, tt.phase, "")
				return
			}
			wantOutcome(t, o, refresh.PhaseNotSent, tt.wantErr)
			want := map[bool]refresh.Class{true: refresh.ClassLocal, false: refresh.ClassTransient}[tt.local]
			if j := refresh.Classify(req.Provider, o); j.Class != want {
				t.Errorf("class %s, want %s (%s)", j.Class, want, o.Err)
			}
		})
	}
}

func dialTo(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

func TestExchangeTellsWhyItCouldNotConnect(t *testing.T) {
	t.Parallel()
	syscallErr := func(e syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", e)}
	}
	tests := map[string]struct {
		err     error
		wantErr string
		local   bool
	}{
		"refused":              {syscallErr(syscall.ECONNREFUSED), "connection refused", false},
		"no route":             {syscallErr(syscall.EHOSTUNREACH), "no route to host", false},
		"no file descriptors":  {syscallErr(syscall.EMFILE), "too many open files", true},
		"no local ports":       {syscallErr(syscall.EADDRNOTAVAIL), "address", true},
		"forbidden":            {syscallErr(syscall.EPERM), "not permitted", true},
		"no such host":         {&net.DNSError{Err: "no such host", Name: "s3cr3t.example", IsNotFound: true}, "no such host", false},
		"name server down":     {&net.DNSError{Err: "server misbehaving", Name: "s3cr3t.example"}, "cannot be resolved", false},
		"timeout":              {&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, "timed out", false},
		"closed at once":       {io.EOF, "TLS: handshake failed", false},
		"something unheard of": {errors.New("s3cr3t"), "could not connect", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newTestExchange(t, refresh.HTTPExchangeConfig{Dial: func(context.Context, string, string) (net.Conn, error) {
				if errors.Is(tt.err, io.EOF) {
					ours, theirs := net.Pipe()
					go func() {
						_, _ = theirs.Read(make([]byte, 1))
						_ = theirs.Close()
					}()
					return ours, nil
				}
				return nil, tt.err
			}})
			o := e.Exchange(t.Context(), exchangeRequest("https://as.example/token"))
			wantOutcome(t, o, refresh.PhaseNotSent, tt.wantErr)
			if o.Local != tt.local || strings.Contains(o.Err, "s3cr3t") {
				t.Errorf("local %v, want %v; err %q", o.Local, tt.local, o.Err)
			}
		})
	}
}

func TestExchangeOverARealRefusal(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), exchangeRequest("http://"+addr+"/"))
	wantOutcome(t, o, refresh.PhaseNotSent, "connection refused")
}

func TestExchangeWithAServerThatSpeaksNoTLS(t *testing.T) {
	t.Parallel()
	srv := exchangeServer(t, func(http.ResponseWriter, *http.Request) {})
	o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), exchangeRequest(strings.Replace(srv.URL, "http:", "https:", 1)))
	wantOutcome(t, o, refresh.PhaseNotSent, "does not speak TLS")
	if o.Local {
		t.Error("called a fault of this machine")
	}
}
