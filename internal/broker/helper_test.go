package broker_test

import (
	"context"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestMain(m *testing.M) {
	// The server's shared clock goroutine must live outside of every bubble of virtual time.
	ats.Register()
	code := m.Run()
	ats.Unregister()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println("goroutines left behind:", err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// virtual runs f in virtual time. Such tests must not be parallel: nats.go keeps its timers in a pool, and one that was
// made in a bubble is fatal elsewhere. Parallel tests start when these are done; two collections empty the pool.
func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer runtime.GC()
	defer runtime.GC()
	synctest.Test(t, f)
}

// natsServer is a real NATS server that can be stopped and started on the same store.
type natsServer struct {
	tb   testing.TB
	opts server.Options

	mu sync.Mutex
	s  *server.Server
}

func startServer(tb testing.TB, change ...func(*server.Options)) *natsServer {
	tb.Helper()
	n := &natsServer{tb: tb, opts: server.Options{
		ServerName: "test", DontListen: true, JetStream: true, StoreDir: tb.TempDir(), NoSigs: true, NoLog: true,
	}}
	for _, c := range change {
		c(&n.opts)
	}
	n.start()
	tb.Cleanup(n.stop)
	return n
}

func (n *natsServer) start() {
	n.tb.Helper()
	opts := n.opts // the server writes into its options
	s, err := server.NewServer(&opts)
	if err != nil {
		n.tb.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		n.tb.Fatal("server is not ready")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.s = s
}

func (n *natsServer) stop() {
	n.mu.Lock()
	s := n.s
	n.mu.Unlock()
	s.Shutdown()
	s.WaitForShutdown()
}

// InProcessConn connects to whichever server runs now.
func (n *natsServer) InProcessConn() (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.s.InProcessConn()
}

func (n *natsServer) connect(opts ...nats.Option) *nats.Conn {
	n.tb.Helper()
	return n.connectWith(broker.ConnectHooks{}, opts...)
}

func (n *natsServer) connectWith(h broker.ConnectHooks, opts ...nats.Option) *nats.Conn {
	n.tb.Helper()
	all := append(broker.ConnectOptions(h), nats.InProcessServer(n), nats.ReconnectJitter(0, 0), nats.ReconnectWait(20*time.Millisecond))
	nc, err := nats.Connect("", append(all, opts...)...)
	if err != nil {
		n.tb.Fatal(err)
	}
	n.tb.Cleanup(func() { closeConn(nc) })
	return nc
}

// closeConn closes and waits, so that no goroutine of the library outlives a test.
func closeConn(nc *nats.Conn) {
	if nc.IsClosed() {
		return
	}
	closed := nc.StatusChanged(nats.CLOSED)
	nc.Close()
	<-closed
}

func newBroker(tb testing.TB, nc *nats.Conn, cfg broker.Config) *broker.Broker {
	tb.Helper()
	b, err := broker.New(nc, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// setUp returns a Broker on a fresh server with all assets.
func setUp(tb testing.TB) (*broker.Broker, *natsServer) {
	tb.Helper()
	n := startServer(tb)
	b := newBroker(tb, n.connect(), broker.Config{})
	mustSetup(tb, b)
	return b, n
}

func mustSetup(tb testing.TB, b *broker.Broker) {
	tb.Helper()
	if _, err := b.Setup(tb.Context(), broker.SetupConfig{}); err != nil {
		tb.Fatal(err)
	}
}

func acme() provider.Definition {
	return provider.Definition{
		Name: "acme", TokenURL: "https://acme.example/token", ClientID: "c", AuthStyle: provider.AuthNone,
		Limits: provider.Limits{Concurrency: 8},
	}
}

func mustLane(tb testing.TB, b *broker.Broker, d provider.Definition) *broker.Lane {
	tb.Helper()
	if _, err := b.EnsureLane(tb.Context(), d, false); err != nil {
		tb.Fatal(err)
	}
	l, err := b.Lane(tb.Context(), d.Name)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func credential(account string) events.Credential {
	return events.Credential{Provider: "acme", Account: account}
}

func record(account string, version uint64) refresh.Record {
	return refresh.Record{
		V: refresh.SchemaVersion, Provider: "acme", Account: account, GrantID: "abcdefghijklmnop",
		Generation: 1, Version: version, State: refresh.StateActive, Grant: []byte("sealed"),
		IssuedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), ExpiresAt: time.Date(2026, 1, 2, 4, 4, 5, 6, time.UTC),
	}
}

func mustPut(tb testing.TB, b *broker.Broker, r refresh.Record, revision uint64) uint64 {
	tb.Helper()
	rev, err := b.Put(tb.Context(), refresh.Write{Record: r, Revision: revision})
	if err != nil {
		tb.Fatal(err)
	}
	return rev
}

func job(newerThan uint64) refresh.Job {
	return refresh.Job{Reason: events.ReasonScheduled, GrantID: "abcdefghijklmnop", NewerThan: newerThan}
}

func mustQueue(tb testing.TB, b *broker.Broker, account string) {
	tb.Helper()
	if err := b.PublishJob(tb.Context(), credential(account).Key(), job(1), ""); err != nil {
		tb.Fatal(err)
	}
}

// run starts f and returns a function that cancels it, waits for its end and returns its error.
func run(tb testing.TB, f func(ctx context.Context) error) (stop func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	tb.Cleanup(func() { _ = stop() })
	return stop
}

// receive waits for the next value.
func receive[T any](tb testing.TB, ch <-chan T) T {
	tb.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		tb.Fatal("nothing came")
		panic("unreachable")
	}
}

// eventually asks until the answer is right. The server counts in the background, so some numbers come a little late.
func eventually[T any](tb testing.TB, ask func() T, right func(T) bool) T {
	tb.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		v := ask()
		if right(v) || time.Now().After(end) {
			return v
		}
		runtime.Gosched()
	}
}
