package listen_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/certtest"
	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/pkg/seal"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatAListenerNeeds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		listener listen.Listener
		token    bool
		want     []string
	}{
		"loopback":                          {listen.Listener{Address: "127.0.0.1:0"}, false, nil},
		"loopback by name":                  {listen.Listener{Address: "localhost:0"}, false, nil},
		"loopback of version 6":             {listen.Listener{Address: "[::1]:0"}, false, nil},
		"every address":                     {listen.Listener{Address: ":0"}, false, []string{"--x-tls-cert", "--x-token-file or --x-client-ca"}},
		"every address, written out":        {listen.Listener{Address: "0.0.0.0:0"}, false, []string{"--x-tls-cert", "--x-token-file"}},
		"another machine's name":            {listen.Listener{Address: "host:0"}, true, []string{"--x-tls-cert"}},
		"TLS alone":                         {listen.Listener{Address: ":0", CertFile: "c", KeyFile: "k"}, false, []string{"--x-token-file"}},
		"TLS and a token":                   {listen.Listener{Address: ":0", CertFile: "c", KeyFile: "k"}, true, nil},
		"TLS and client certificates":       {listen.Listener{Address: ":0", CertFile: "c", KeyFile: "k", ClientCAFile: "a"}, false, nil},
		"a certificate without a key":       {listen.Listener{Address: "127.0.0.1:0", CertFile: "c"}, false, []string{"both or neither"}},
		"client authorities without TLS":    {listen.Listener{Address: "127.0.0.1:0", ClientCAFile: "a"}, false, []string{"--x-client-ca: needs"}},
		"no port":                           {listen.Listener{Address: "127.0.0.1"}, true, []string{"want HOST:PORT"}},
		"loopback, as part of a longer one": {listen.Listener{Address: "127.0.0.1.example.com:0"}, true, []string{"--x-tls-cert"}},
	} {
		err := errors.Join(append(c.listener.Check("x-"), c.listener.CheckGuard("x-", c.token)...)...)
		if (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range c.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", name, err, want)
			}
		}
	}
}

func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	token := seal.NewSecret("a-token-of-some-length")
	unverified := &tls.ConnectionState{}
	for name, c := range map[string]struct {
		token       seal.Secret
		host, shown string
		tls         *tls.ConnectionState
		want        int
	}{
		"this machine":                    {host: "127.0.0.1:9464", want: 0},
		"this machine by name":            {host: "localhost:9464", want: 0},
		"this machine, version 6":         {host: "[::1]:9464", want: 0},
		"another name for this machine":   {host: "rebound.example.com:9464", want: http.StatusForbidden},
		"TLS without a certificate":       {host: "host.example.com", tls: unverified, want: http.StatusForbidden},
		"the token":                       {token: token, host: "host.example.com", shown: "Bearer a-token-of-some-length", want: 0},
		"the token, scheme in lower case": {token: token, host: "host.example.com", shown: "bearer a-token-of-some-length", want: 0},
		"no token":                        {token: token, host: "127.0.0.1", want: http.StatusUnauthorized},
		"another token":                   {token: token, host: "127.0.0.1", shown: "Bearer a-token-of-some-lengti", want: http.StatusUnauthorized},
		"the token's beginning":           {token: token, host: "127.0.0.1", shown: "Bearer a-token", want: http.StatusUnauthorized},
		"the token by another scheme":     {token: token, host: "127.0.0.1", shown: "Basic a-token-of-some-length", want: http.StatusUnauthorized},
		"an empty token":                  {token: token, host: "127.0.0.1", shown: "Bearer ", want: http.StatusUnauthorized},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		req.Host, req.TLS = c.host, c.tls
		req.Header.Set("Authorization", c.shown)
		if got, why := listen.Refuse(req, c.token); got != c.want || (why == "") != (got == 0) {
			t.Errorf("%s: %d %q, want %d", name, got, why, c.want)
		}
	}
}

func TestATokenFileHasOneLongWord(t *testing.T) {
	t.Parallel()
	for content, good := range map[string]bool{
		"sixteen-letters-": true, " sixteen-letters-\n": true, "fifteen-letters": false, "": false, "two words of some length": false, "two\nlines-of-some-length": false,
	} {
		file := filepath.Join(t.TempDir(), "token")
		must(t, os.WriteFile(file, []byte(content), 0o600))
		got, err := listen.ReadToken("--x-token-file", file)
		if (err == nil) != good || good && got.Reveal() != strings.TrimSpace(content) {
			t.Errorf("%q: %v", content, err)
		}
		if err != nil && (len(content) > 0 && strings.Contains(err.Error(), content) || !strings.Contains(err.Error(), "--x-token-file")) {
			t.Errorf("%q: %v: want the flag and not the content", content, err)
		}
	}
	if got, err := listen.ReadToken("--x-token-file", ""); err != nil || !got.IsZero() {
		t.Errorf("no file: %v", err)
	}
	if _, err := listen.ReadToken("--x-token-file", "/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// serve runs a handler on a listener until the test ends, or stop is called.
func serve(t *testing.T, l net.Listener, h http.Handler, stopWithin time.Duration) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- listen.Serve(ctx, l, listen.Server(h, time.Minute), stopWithin) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	return stop
}

// who answers with the name in the certificate of whoever asks.
var who = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	if req.TLS != nil && len(req.TLS.PeerCertificates) > 0 {
		_, _ = io.WriteString(w, req.TLS.PeerCertificates[0].Subject.CommonName)
	}
})

// call makes one request on a connection of its own and returns the server's certificate and the answer.
func call(t *testing.T, address string, settings *tls.Config) (server, answer string, err error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: settings}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/", nil)
	must(t, err)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.TLS.PeerCertificates[0].Subject.CommonName, string(body), err
}

func TestCertificatesAreAskedForAndFollowTheirFiles(t *testing.T) {
	t.Parallel()
	a, err1 := certtest.New(t.TempDir())
	stranger, err2 := certtest.New(t.TempDir())
	must(t, errors.Join(err1, err2))
	dir := t.TempDir()
	l := listen.Listener{Address: "127.0.0.1:0", CertFile: dir + "/tls.pem", KeyFile: dir + "/tls.key", ClientCAFile: a.File}
	install := func(name string) {
		cert, key, err := a.Sign(name)
		must(t, errors.Join(err, os.Rename(cert, l.CertFile), os.Rename(key, l.KeyFile)))
	}
	install("first")
	ln, err := l.Open(t.Context(), zerolog.Nop())
	must(t, err)
	serve(t, ln, who, time.Second)
	client := func(by *certtest.Authority) *tls.Config {
		cert, key, err := by.Sign("program")
		must(t, err)
		pair, err := tls.LoadX509KeyPair(cert, key)
		must(t, err)
		return &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{pair}}
	}
	at := ln.Addr().String()
	if server, answer, err := call(t, at, client(a)); err != nil || server != "first" || answer != "program" {
		t.Errorf("a certificate of the authority: %s, %s, %v", server, answer, err)
	}
	for name, settings := range map[string]*tls.Config{"none": {RootCAs: a.Pool()}, "another authority's": client(stranger)} {
		if _, _, err := call(t, at, settings); err == nil {
			t.Errorf("%s: let in", name)
		}
	}
	install("second")
	if server, _, err := call(t, at, client(a)); err != nil || server != "second" {
		t.Errorf("after a renewal: %s, %v", server, err)
	}
	must(t, os.Remove(l.KeyFile))
	if server, _, err := call(t, at, client(a)); err != nil || server != "second" {
		t.Errorf("in the middle of a renewal: %s, %v", server, err)
	}
	must(t, os.Rename(stranger.File, l.ClientCAFile))
	install("third")
	if _, _, err := call(t, at, client(a)); err == nil {
		t.Error("an authority that was withdrawn is believed")
	}
	if _, err := (listen.Listener{Address: "127.0.0.1:0", CertFile: "/nonexistent", KeyFile: "/nonexistent"}).Open(t.Context(), zerolog.Nop()); err == nil {
		t.Error("opened without a certificate")
	}
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	ln, err := listen.Listener{Address: "127.0.0.1:0"}.Open(t.Context(), zerolog.Nop())
	must(t, err)
	serve(t, ln, who, time.Second)
	for size, want := range map[int]int{32 << 10: http.StatusOK, 128 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		c, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		go func() {
			_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", bytes.Repeat([]byte("a"), size))
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		must(t, err)
		if resp.StatusCode != want {
			t.Errorf("%d bytes: %d, want %d", size, resp.StatusCode, want)
		}
		resp.Body.Close()
		c.Close()
	}
}

// pipes is a listener inside a bubble of virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

// TestTimeIsBounded: of headers, of bodies, of silence, and of a stop.
func TestTimeIsBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		said string
		want time.Duration // until the server hangs up
	}{
		"nothing is said":               {"", 10 * time.Second},
		"headers without an end":        {"GET / HTTP/1.1\r\nHost: x\r\n", 10 * time.Second},
		"a body that does not come":     {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", 30 * time.Second},
		"silence after a whole request": {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				serve(t, l, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { _, _ = io.Copy(io.Discard, req.Body) }), time.Second)
				conn, began := l.dial(), time.Now()
				go func() { _, _ = io.WriteString(conn, c.said) }()
				_, _ = io.Copy(io.Discard, conn)
				if took := time.Since(began); took != c.want {
					t.Errorf("hung up after %s, want %s", took, c.want)
				}
				conn.Close()
			})
		})
	}
}

func TestAStopWaitsForWhatIsUnderWayAndNotForever(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes time.Duration
		whole bool
	}{
		"an answer that comes in time": {3 * time.Second, true},
		"one that does not":            {time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				begun := make(chan struct{})
				stop := serve(t, l, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					close(begun)
					select {
					case <-time.After(c.takes):
					case <-req.Context().Done():
					}
				}), 5*time.Second)
				conn := l.dial()
				defer conn.Close()
				answer := make(chan error, 1)
				go func() {
					_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err == nil {
						resp.Body.Close()
					}
					answer <- err
				}()
				<-begun
				began := time.Now()
				if err := stop(); (err == nil) != c.whole || time.Since(began) > 6*time.Second {
					t.Errorf("stopped after %s: %v", time.Since(began), err)
				}
				if err := <-answer; (err == nil) != c.whole {
					t.Errorf("the answer: %v", err)
				}
			})
		})
	}
}
