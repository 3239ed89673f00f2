package refresh_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// secondTime is a fence that lets the check before the connection pass and refuses the first byte.
func secondTime() func() time.Duration {
	var asked atomic.Int32
	return func() time.Duration {
		if asked.Add(1) > 1 {
			return 0
		}
		return time.Second
	}
}

func TestExchangeWritesNothingWhenTheFenceRefuses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			heard <- []byte(err.Error())
			return
		}
		defer c.Close()
		b, _ := io.ReadAll(c)
		heard <- b
	}()
	req := exchangeRequest("http://" + l.Addr().String())
	req.Fence = secondTime()
	o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), req)
	wantOutcome(t, o, refresh.PhaseNotSent, "too little of the claim is left")
	if b := <-heard; len(b) != 0 {
		t.Fatalf("the server heard %q", b)
	}
}

func TestExchangeAfterARefusalUsesOtherConnections(t *testing.T) {
	t.Parallel()
	var served atomic.Int32
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = io.WriteString(w, goodReply)
	}))
	defer srv.Close()
	e := newTestExchange(t, refresh.HTTPExchangeConfig{RootCAs: rootsOf(srv)})
	for range 3 { // the refused one finds a kept connection
		wantOutcome(t, e.Exchange(t.Context(), exchangeRequest(srv.URL)), refresh.PhaseAnswered, "")
		req := exchangeRequest(srv.URL)
		req.Fence = secondTime()
		wantOutcome(t, e.Exchange(t.Context(), req), refresh.PhaseNotSent, "too little of the claim is left")
	}
	if n := served.Load(); n != 3 {
		t.Fatalf("server saw %d requests, want 3", n)
	}
}

func TestExchangeRefusalCostsNoConnection(t *testing.T) {
	t.Parallel()
	const inFlight = 4
	var together sync.WaitGroup
	srv := exchangeServer(t, func(w http.ResponseWriter, _ *http.Request) {
		together.Done()
		together.Wait()
		_, _ = io.WriteString(w, goodReply)
	})
	var dials atomic.Int32
	e := newTestExchange(t, refresh.HTTPExchangeConfig{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	burst := func() {
		together.Add(inFlight)
		var wg sync.WaitGroup
		for range inFlight {
			wg.Go(func() { e.Exchange(t.Context(), exchangeRequest(srv.URL)) })
		}
		wg.Wait()
	}
	burst()
	req := exchangeRequest(srv.URL)
	req.Fence = secondTime()
	wantOutcome(t, e.Exchange(t.Context(), req), refresh.PhaseNotSent, "too little of the claim is left")
	burst()
	if n := dials.Load(); n != inFlight {
		t.Errorf("%d connections, want %d", n, inFlight)
	}
}

// spokenConn tells its test when the server's end has arrived.
type spokenConn struct{ *net.TCPConn }

// heard waits until there is something to read.
func (c spokenConn) heard(t *testing.T) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool {
			_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
			return !errors.Is(err, syscall.EAGAIN)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A request that is written to a connection that has ended may have arrived, for all we know. So a kept one on which the
// server has spoken, or said goodbye, is not used.
func TestExchangeLeavesKeptConnectionsOnWhichTheServerSpoke(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, server net.Conn){
		"goodbye": func(_ *testing.T, server net.Conn) { _ = server.Close() },
		"an answer nobody asked for": func(t *testing.T, server net.Conn) {
			if _, err := io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
				t.Error(err)
			}
		},
	}
	for name, speak := range tests {
		for _, scheme := range []string{"http", "https"} {
			t.Run(name+" over "+scheme, func(t *testing.T) {
				t.Parallel()
				conns := make(chan net.Conn, 2)
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodReply) }))
				srv.Config.ConnState = func(c net.Conn, s http.ConnState) {
					if s == http.StateIdle {
						conns <- c
					}
				}
				cfg := refresh.HTTPExchangeConfig{}
				if scheme == "https" {
					srv.StartTLS()
					cfg.RootCAs = rootsOf(srv)
				} else {
					srv.Start()
				}
				defer srv.Close()
				var made []spokenConn
				cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := new(net.Dialer).DialContext(ctx, network, addr)
					if err != nil {
						return nil, err
					}
					made = append(made, spokenConn{c.(*net.TCPConn)})
					return made[len(made)-1], nil
				}
				e := newTestExchange(t, cfg)
				wantOutcome(t, e.Exchange(t.Context(), exchangeRequest(srv.URL)), refresh.PhaseAnswered, "")
				speak(t, <-conns)
				made[0].heard(t)
				o := e.Exchange(t.Context(), exchangeRequest(srv.URL))
				wantOutcome(t, o, refresh.PhaseAnswered, "")
				if string(o.Body) != goodReply || len(made) != 2 {
					t.Errorf("answer %q over %d connections, want the second's", o.Body, len(made))
				}
			})
		}
	}
}

func TestExchangeThroughAProxy(t *testing.T) {
	t.Parallel()
	var served atomic.Int32
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = io.WriteString(w, goodReply)
	}))
	defer srv.Close()
	for _, scheme := range []string{"http", "https"} {
		proxy := httptest.NewUnstartedServer(http.HandlerFunc(tunnel))
		if scheme == "http" {
			proxy.Start()
		} else {
			proxy.StartTLS()
		}
		defer proxy.Close()
		proxyURL, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		served.Store(0)
		e := newTestExchange(t, refresh.HTTPExchangeConfig{RootCAs: rootsOf(srv)})
		e.UseProxy(proxyURL)
		for range 2 {
			wantOutcome(t, e.Exchange(t.Context(), exchangeRequest(srv.URL)), refresh.PhaseAnswered, "")
			req := exchangeRequest(srv.URL)
			req.Fence = secondTime()
			wantOutcome(t, e.Exchange(t.Context(), req), refresh.PhaseNotSent, "too little of the claim is left")
		}
		if n := served.Load(); n != 2 {
			t.Fatalf("%s proxy: server saw %d requests, want 2", scheme, n)
		}
		e.CloseIdle()
	}
}

// tunnel is a CONNECT proxy.
func tunnel(w http.ResponseWriter, r *http.Request) {
	up, err := net.Dial("tcp", r.Host)
	if r.Method != http.MethodConnect || err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	down, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	status := "200 OK"
	if r.TLS != nil {
		status = "204 Tunnelled" // any 2xx will do
	}
	_, _ = io.WriteString(down, "HTTP/1.1 "+status+"\r\n\r\n")
	go func() {
		_, _ = io.Copy(up, down)
		_ = up.Close()
	}()
	_, _ = io.Copy(down, up)
	_ = down.Close()
}

// tornConn takes part of the next write and then fails, once told to.
type tornConn struct {
	*net.TCPConn
	take func() (n int, tear bool)
}

func (c tornConn) Write(p []byte) (int, error) {
	n, tear := c.take()
	if !tear {
		return c.TCPConn.Write(p)
	}
	n, _ = c.TCPConn.Write(p[:n])
	_ = c.Close()
	return n, errors.New("torn")
}

// A write that fails may be repeated elsewhere only if the socket took nothing at all, of a TLS record either.
func TestExchangeRepeatsOnlyWhatWasNotWritten(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tls   bool
		take  int
		phase refresh.Phase
	}{
		"plain, nothing taken": {false, 0, refresh.PhaseAnswered},
		"plain, some taken":    {false, 7, refresh.PhaseSent},
		"TLS, nothing taken":   {true, 0, refresh.PhaseAnswered},
		"TLS, some taken":      {true, 7, refresh.PhaseSent},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var served, dials, fenced atomic.Int32
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				served.Add(1)
				_, _ = io.WriteString(w, goodReply)
			}))
			cfg := refresh.HTTPExchangeConfig{}
			if srv.Start(); tt.tls {
				srv.Close()
				srv = httptest.NewTLSServer(srv.Config.Handler)
				cfg.RootCAs = rootsOf(srv)
			}
			defer srv.Close()
			var tear atomic.Bool
			cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials.Add(1)
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return tornConn{c.(*net.TCPConn), func() (int, bool) { return tt.take, tear.CompareAndSwap(true, false) }}, nil
			}
			e := newTestExchange(t, cfg)
			wantOutcome(t, e.Exchange(t.Context(), exchangeRequest(srv.URL)), refresh.PhaseAnswered, "")
			tear.Store(true)
			req := exchangeRequest(srv.URL)
			req.Fence = func() time.Duration { fenced.Add(1); return time.Second }
			o := e.Exchange(t.Context(), req)
			if o.Phase != tt.phase {
				t.Fatalf("phase %s (%s), want %s", o.Phase, o.Err, tt.phase)
			}
			wantServed, wantFenced := int32(1), int32(2)
			if tt.phase == refresh.PhaseAnswered {
				wantServed, wantFenced = 2, 3
			}
			if served.Load() != wantServed || fenced.Load() != wantFenced {
				t.Errorf("served %d, want %d; fence asked %d times, want %d", served.Load(), wantServed, fenced.Load(), wantFenced)
			}
			if o := e.Exchange(t.Context(), exchangeRequest(srv.URL)); o.Phase != refresh.PhaseAnswered {
				t.Errorf("the next request: %s (%s)", o.Phase, o.Err)
			}
		})
	}
}

// A server that closes kept connections at random, some just as the next request comes in, must see every
// request at most once, and none that the exchange calls not sent.
func TestExchangeSendsNothingTwiceOverStaleConnections(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			const requests, hands = 300, 4
			var mu sync.Mutex
			seen := make(map[string]int)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token := r.PostFormValue("refresh_token")
				mu.Lock()
				seen[token]++
				mu.Unlock()
				_, _ = io.WriteString(w, goodReply)
			}))
			srv.Config.ConnState = closeIdleAtRandom(rand.New(rand.NewPCG(1, 2)))
			cfg := refresh.HTTPExchangeConfig{}
			if scheme == "https" {
				srv.StartTLS()
				cfg.RootCAs = rootsOf(srv)
			} else {
				srv.Start()
			}
			defer srv.Close()
			e := newTestExchange(t, cfg)
			phases := make(map[string]refresh.Phase)
			var wg sync.WaitGroup
			for hand := range hands {
				wg.Go(func() {
					for i := range requests / hands {
						req := exchangeRequest(srv.URL)
						token := strconv.Itoa(hand) + "-" + strconv.Itoa(i)
						req.RefreshToken = seal.NewSecret(token)
						o := e.Exchange(t.Context(), req)
						mu.Lock()
						phases[token] = o.Phase
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			mu.Lock()
			defer mu.Unlock()
			count := make(map[refresh.Phase]int)
			for token, phase := range phases {
				count[phase]++
				most := map[refresh.Phase]int{refresh.PhaseAnswered: 1, refresh.PhaseSent: 1}[phase]
				if seen[token] > most {
					t.Errorf("%s: seen %d times with phase %s", token, seen[token], phase)
				}
			}
			if len(phases) != requests || count[refresh.PhaseAnswered] == 0 {
				t.Errorf("outcomes %v of %d requests", count, requests)
			}
		})
	}
}

// closeIdleAtRandom closes a third of the connections when they become idle, some of them once a request has begun.
func closeIdleAtRandom(r *rand.Rand) func(net.Conn, http.ConnState) {
	var mu sync.Mutex
	return func(c net.Conn, s http.ConnState) {
		mu.Lock()
		dice := r.IntN(6)
		mu.Unlock()
		switch {
		case s == http.StateIdle && dice < 2:
			_ = c.Close()
		case s == http.StateActive && dice == 5:
			_ = c.SetReadDeadline(time.Now())
		}
	}
}

func TestExchangeClearsTheDeadlineOfKeptConnections(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodReply) }))
			cfg := refresh.HTTPExchangeConfig{}
			if scheme == "https" {
				srv.StartTLS()
				cfg.RootCAs = rootsOf(srv)
			} else {
				srv.Start()
			}
			defer srv.Close()
			deadlines := make(chan time.Time, 16)
			dials := 0
			cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dials++
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return watchedConn{c.(*net.TCPConn), deadlines}, nil
			}
			e := newTestExchange(t, cfg)
			for range 3 {
				req := exchangeRequest(srv.URL)
				wantOutcome(t, e.Exchange(t.Context(), req), refresh.PhaseAnswered, "")
				if len(deadlines) != 2 {
					t.Fatalf("deadline set %d times, want once and cleared", len(deadlines))
				}
				if set, cleared := <-deadlines, <-deadlines; !set.Equal(req.Deadline) || !cleared.IsZero() {
					t.Errorf("deadline %v, want %v; afterwards %v, want none", set, req.Deadline, cleared)
				}
			}
			if dials != 1 {
				t.Errorf("%d connections, want one", dials)
			}
		})
	}
}

// watchedConn tells which deadlines are set on it.
type watchedConn struct {
	*net.TCPConn
	deadlines chan<- time.Time
}

func (c watchedConn) SetDeadline(at time.Time) error {
	c.deadlines <- at
	return c.TCPConn.SetDeadline(at)
}
