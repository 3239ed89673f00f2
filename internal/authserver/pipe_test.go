package authserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

// network is a server on a pipe, and a client of it.
type network struct {
	server *http.Server
	client *http.Client
	pipe   *authserver.Pipe
	dials  atomic.Int64
	served chan error
}

// connect serves h on a pipe until close is called.
func connect(h http.Handler) *network {
	n := &network{server: &http.Server{Handler: h}, pipe: authserver.NewPipe(), served: make(chan error, 1)}
	n.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			n.dials.Add(1)
			return n.pipe.Dial(ctx, network, addr)
		},
		IdleConnTimeout: time.Hour,
	}}
	go func() { n.served <- n.server.Serve(n.pipe) }()
	return n
}

// close ends everything; a bubble would notice what is left.
func (n *network) close(t *testing.T) {
	t.Helper()
	n.client.CloseIdleConnections()
	if err := n.server.Shutdown(context.Background()); err != nil {
		t.Errorf("shut down: %v", err)
	}
	if err := <-n.served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("serve: %v", err)
	}
}

// refresh is a refresh over the pipe.
func (n *network) refresh(token string) (*http.Response, error) {
	req := formRequest("http://as.test/token", "grant_type", "refresh_token", "refresh_token", token)
	req.RequestURI = ""
	req.SetBasicAuth("dev", "dev-secret")
	return n.client.Do(req)
}

func drain(t *testing.T, resp *http.Response) {
	t.Helper()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	resp.Body.Close()
}

func TestHTTPOverAPipeInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Rotation: authserver.RotationNone, Latency: 10 * time.Second})
		n := connect(s)
		held := issue(t, s, "alice").RefreshToken
		start := time.Now()
		for range 3 {
			resp, err := n.refresh(held)
			if err != nil {
				t.Fatal(err)
			}
			drain(t, resp)
			time.Sleep(20 * time.Minute)
		}
		if d := time.Since(start); d != time.Hour+30*time.Second {
			t.Errorf("took %v of virtual time, want 1h0m30s", d)
		}
		if got := n.dials.Load(); got != 1 {
			t.Errorf("%d connections, want one that is kept alive", got)
		}
		wantCount(t, "refreshes", s.Ledger().Refreshes, 3)
		n.close(t)
		if _, err := n.refresh(held); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after the end: %v, want connection refused", err)
		}
	})
}

func TestFaultsOverAPipe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{})
		n := connect(s)
		held := issue(t, s, "alice").RefreshToken
		setFaults(t, s, "before drop nth=1", "after truncate nth=1")
		if _, err := n.refresh(held); !errors.Is(err, io.EOF) {
			t.Errorf("dropped: %v, want EOF", err)
		}
		resp, err := n.refresh(held)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("truncated: %v, want unexpected EOF", err)
		}
		resp.Body.Close()
		wantCount(t, "damaged", s.Ledger().Damaged, 1)
		n.close(t)
	})
}

func TestClientTimeoutOverAPipe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Latency: time.Hour})
		n := connect(s)
		held := issue(t, s, "alice").RefreshToken
		n.client.Timeout = 5 * time.Second
		start := time.Now()
		if _, err := n.refresh(held); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a timeout", err)
		}
		synctest.Wait()
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("took %v, want 5s", d)
		}
		l := s.Ledger()
		wantCount(t, "abandoned", l.Abandoned, 1)
		wantCount(t, "in flight", l.InFlight, 0)
		n.close(t)
	})
}

func TestPipeKeepsDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := authserver.NewPipe()
		defer p.Close()
		accepted := make(chan net.Conn, 1)
		go func() {
			far, _ := p.Accept()
			accepted <- far
		}()
		near, err := p.Dial(t.Context(), "tcp", "as.test:80")
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		defer (<-accepted).Close() // it never reads or writes
		for name, do := range map[string]func([]byte) (int, error){"read": near.Read, "write": near.Write} {
			start := time.Now()
			near.SetDeadline(start.Add(time.Second))
			if _, err := do(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v, want a deadline", name, err)
			}
			if d := time.Since(start); d != time.Second {
				t.Errorf("%s: took %v, want 1s", name, d)
			}
		}
	})
}

func TestPipeEndsWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := authserver.NewPipe()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Dial(ctx, "tcp", "as.test:80")
		var op *net.OpError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &op) || op.Op != "dial" || op.Addr.String() != "as.test:80" {
			t.Errorf("nobody accepts: %v", err)
		}
		accepted := make(chan error)
		go func() {
			_, err := p.Accept()
			accepted <- err
		}()
		synctest.Wait()
		p.Close()
		p.Close()
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v, want net.ErrClosed", err)
		}
		if _, err := p.Dial(t.Context(), "tcp", "as.test:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v, want connection refused", err)
		}
	})
}
