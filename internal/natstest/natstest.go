// Package natstest runs a real nats-server inside a test's own process, one that can be stopped and started again on the
// same store. Only tests import it.
//
// A Server is a nats.InProcessConnProvider: clients connect through it and not through one run of the server, so that
// they reconnect to whichever run is up. Nothing listens on a port, but for a server that speaks TLS: connections inside the process
// never do.
//
// It works in real time and inside a testing/synctest bubble. Two things outlive a bubble, and would be fatal or stand
// still in the next one: the server's shared clock, therefore a TestMain calls VerifyTestMain, or ats.Register
// (github.com/nats-io/nats-server/v2/server/ats) before it runs any test with a bubble; and nats.go's pool of timers, see
// Bubble.
//
// Concurrency: a Server is safe for any number of goroutines. Start and Stop may be called from any of them, though not
// two Starts at a time.
package natstest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// readyWithin bounds a start. It is reached only when something is broken.
const readyWithin = 30 * time.Second

// Options are those of nats-server. The zero value is a server without users.
type Options = server.Options

// Server is a server with JetStream.
type Server struct {
	opts Options

	mu sync.Mutex
	up *server.Server // nil while it is down
}

var _ nats.InProcessConnProvider = (*Server)(nil)

// New returns a server that is down. o.StoreDir is required.
func New(o Options) *Server {
	if o.ServerName == "" {
		o.ServerName = "test"
	}
	o.JetStream, o.NoSigs, o.NoLog = true, true, true
	if o.DontListen = o.TLSConfig == nil; !o.DontListen {
		o.TLS, o.Host, o.Port = true, "127.0.0.1", cmp.Or(o.Port, server.RANDOM_PORT)
	}
	return &Server{opts: o}
}

// Run returns a server that is up and ends with the test. An empty o.StoreDir is a directory that ends with the test too.
func Run(tb testing.TB, o Options) *Server {
	tb.Helper()
	if o.StoreDir == "" {
		o.StoreDir = tb.TempDir()
	}
	s := New(o)
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// Start brings the server up with what an earlier run left in its store, and returns when it takes connections.
func (s *Server) Start() error {
	up, err := server.NewServer(s.opts.Clone()) // the server writes into its options
	if err != nil {
		return fmt.Errorf("start nats-server: %w", err)
	}
	up.Start()
	if !up.ReadyForConnections(readyWithin) {
		up.Shutdown()
		return fmt.Errorf("start nats-server: not ready after %s", readyWithin)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = up
	return nil
}

// Address is where a server that is up listens, HOST:PORT. Only one with a TLSConfig does.
func (s *Server) Address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up.Addr().String()
}

// Stop takes the server down and returns when its store is closed. It does nothing to one that is down.
func (s *Server) Stop() {
	s.mu.Lock()
	up := s.up
	s.up = nil
	s.mu.Unlock()
	if up != nil {
		up.Shutdown()
		up.WaitForShutdown()
	}
}

// InProcessConn implements nats.InProcessConnProvider. It fails while the server is down.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	if up == nil {
		return nil, errors.New("nats-server is down")
	}
	return up.InProcessConn()
}

// Close closes a connection and waits, so that no goroutine of nats.go outlives the test.
func Close(nc *nats.Conn) {
	if nc.IsClosed() {
		return
	}
	closed := nc.StatusChanged(nats.CLOSED)
	nc.Close()
	<-closed
}

// Bubble runs f in virtual time. The test must not be parallel: nats.go keeps its timers in a pool, and one that was made
// on one side of a bubble's wall is fatal on the other. Parallel tests start when the others are done; two collections
// empty the pool.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	emptyPools()
	defer emptyPools()
	synctest.Test(t, f)
}

func emptyPools() {
	runtime.GC()
	runtime.GC()
}
