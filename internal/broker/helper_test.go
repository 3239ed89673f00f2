package broker_test

import (
	"context"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
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

// natsServer is a real server that these tests connect to in their own way.
type natsServer struct {
	*natstest.Server
	tb testing.TB
}

func startServer(tb testing.TB, opts natstest.Options) *natsServer {
	tb.Helper()
	return &natsServer{natstest.Run(tb, opts), tb}
}

// start brings the server up again.
func (n *natsServer) start() {
	n.tb.Helper()
	if err := n.Start(); err != nil {
		n.tb.Fatal(err)
	}
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
	n.tb.Cleanup(func() { natstest.Close(nc) })
	return nc
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
	n := startServer(tb, natstest.Options{})
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

// deleteLane removes acme's lane, as an operator may with the tools of NATS.
func deleteLane(tb testing.TB, b *broker.Broker) {
	tb.Helper()
	if err := b.JetStream().DeleteConsumer(tb.Context(), b.Names().JobsStream(), "acme"); err != nil {
		tb.Fatal(err)
	}
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
