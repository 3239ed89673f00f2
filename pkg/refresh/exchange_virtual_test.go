package refresh_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// pipeListener is a network of one server, in memory, so that net/http runs in virtual time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inVirtualTime runs a test against a handler inside a bubble.
func inVirtualTime(t *testing.T, h http.HandlerFunc, test func(t *testing.T, e *refresh.HTTPExchange)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		srv := &http.Server{Handler: h}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(l) }()
		e := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: l.dial})
		test(t, e)
		e.CloseIdle()
		_ = srv.Close()
		<-done
	})
}

func TestExchangeDeadlineIsAbsolute(t *testing.T) {
	t.Parallel()
	// A byte every second would keep any idle timeout away for ever.
	trickle := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
			}
		}
	}
	inVirtualTime(t, trickle, func(t *testing.T, e *refresh.HTTPExchange) {
		req := exchangeRequest("http://localhost/token")
		req.Deadline = time.Now().Add(20 * time.Second)
		o := e.Exchange(t.Context(), req)
		wantOutcome(t, o, refresh.PhaseSent, "timed out after 20s")
		if took := o.EndedAt.Sub(o.StartedAt); took != 20*time.Second {
			t.Errorf("took %v, want exactly 20s", took)
		}
	})
}

func TestExchangeOutlivesItsCallerOnceSent(t *testing.T) {
	t.Parallel()
	slow := func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(15 * time.Second)
		_, _ = io.WriteString(w, goodReply)
	}
	inVirtualTime(t, slow, func(t *testing.T, e *refresh.HTTPExchange) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req := exchangeRequest("http://localhost/token")
		req.Deadline = time.Now().Add(20 * time.Second)
		o := e.Exchange(ctx, req)
		wantOutcome(t, o, refresh.PhaseAnswered, "")
		if took := o.EndedAt.Sub(o.StartedAt); took != 15*time.Second || ctx.Err() == nil {
			t.Errorf("took %v, want 15s; caller: %v", took, ctx.Err())
		}
	})
}

func TestExchangeCountsFromTheFirstByte(t *testing.T) {
	t.Parallel()
	answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodReply) }
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		srv := &http.Server{Handler: http.HandlerFunc(answer)}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(l) }()
		e := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(5 * time.Second) // a slow network
			return l.dial(ctx, network, addr)
		}})
		begin := time.Now()
		o := e.Exchange(t.Context(), exchangeRequest("http://localhost/token"))
		wantOutcome(t, o, refresh.PhaseAnswered, "")
		if at := o.StartedAt.Sub(begin); at != 5*time.Second {
			t.Errorf("started after %v, want 5s", at)
		}
		e.CloseIdle()
		_ = srv.Close()
		<-done
	})
}

// keptConn is a connection in memory that can be asked whether the server has spoken: it never has.
type keptConn struct {
	net.Conn
	silent *net.UDPConn
}

// SyscallConn implements syscall.Conn.
func (c keptConn) SyscallConn() (syscall.RawConn, error) { return c.silent.SyscallConn() }

func TestExchangeGivesUpConnectionsBeforeServersDo(t *testing.T) {
	t.Parallel()
	answer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodReply) }
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		srv := &http.Server{Handler: http.HandlerFunc(answer), IdleTimeout: 5 * time.Second}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(l) }()
		dials := 0
		e := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			c, err := l.dial(ctx, network, addr)
			return keptConn{c, silent}, err
		}})
		for _, pause := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second} {
			time.Sleep(pause)
			wantOutcome(t, e.Exchange(t.Context(), exchangeRequest("http://localhost/token")), refresh.PhaseAnswered, "")
		}
		if dials != 3 {
			t.Errorf("%d connections, want 3: kept over 1s and 2s, not over 4s and 5s", dials)
		}
		e.CloseIdle()
		_ = srv.Close()
		<-done
	})
}

// What follows an answer must not become the answer to the next request, which may be somebody else's, nor be printed,
// as net/http does with what it did not expect: with a Content-Length that is too small it is the end of a token.
func TestExchangeDropsWhatFollowsAnAnswer(t *testing.T) { // not parallel: it listens to the process's log
	const (
		early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
		head  = "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 4\r\n\r\n"
	)
	answers := map[string]string{
		"another answer": head + "body" + head + "more",
		"longer than it says, after an informational one": early + head + "body-more",
		"lines without carriage returns":                  "HTTP/1.1 200 OK\nContent-Length: 4\n\nbody-more",
	}
	var printed bytes.Buffer
	log.SetOutput(&printed)
	defer log.SetOutput(os.Stderr)
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for split := range len(answer) {
					exchangeInTwoParts(t, answer, split)
				}
			})
		})
	}
	if printed.Len() != 0 {
		t.Errorf("printed: %s", printed.String())
	}
}

// exchangeInTwoParts has the server write its answer in two parts, and asks it twice.
func exchangeInTwoParts(t *testing.T, answer string, split int) {
	t.Helper()
	dials := 0
	e := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: func(context.Context, string, string) (net.Conn, error) {
		dials++
		ours, theirs := net.Pipe()
		go answerOnce(theirs, answer[:split], answer[split:])
		return ours, nil
	}})
	for range 2 {
		o := e.Exchange(t.Context(), exchangeRequest("http://localhost/"))
		if o.Phase != refresh.PhaseAnswered || o.Status != 200 || string(o.Body) != "body" {
			t.Fatalf("in two parts at %d: phase %s, status %d, body %q, err %q", split, o.Phase, o.Status, o.Body, o.Err)
		}
		synctest.Wait() // what follows is there
	}
	if dials != 2 {
		t.Fatalf("in two parts at %d: %d connections, want 2: such a one is not kept", split, dials)
	}
	e.CloseIdle()
}

// answerOnce answers the first request on a connection and waits for the other side to hang up.
func answerOnce(c net.Conn, parts ...string) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	for _, part := range parts {
		_, _ = io.WriteString(c, part)
	}
	_, _ = in.ReadByte()
}
