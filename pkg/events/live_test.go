package events_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

// live subscribes through a connection of its own.
func live(t *testing.T, s *natsServer, opts ...nats.Option) subscriber {
	nc, _ := s.connect(t, opts...)
	return func(ctx context.Context, cfg events.SubscribeConfig, r *running) error {
		return events.Live(ctx, nc, cfg, func(e events.Event) { r.events <- e })
	}
}

func TestLiveHearsWhatIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/early", 1))
	r := runReady(t, events.SubscribeConfig{}, live(t, b.natsServer))
	told := []events.Event{updated("acme/alice", 1), providerEvent(events.ProviderPaused, "acme", 1), updated("acme/alice", 2)}
	b.tell(t, told...)
	for _, want := range told {
		if got := r.next(); got != want {
			t.Errorf("heard %+v, want %+v", got, want)
		}
	}
	r.stop()
}

func TestLiveHearsOnlyWhatTheFilterLetsThrough(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	filter := events.Filter{Types: []events.Type{events.TokenUpdated}, Provider: "acme", Account: "tenant"}
	r := runReady(t, events.SubscribeConfig{Filter: filter}, live(t, b.natsServer))
	b.tell(t,
		updated("acme/other", 1), updated("zeta/tenant", 1), tokenEvent(events.TokenExpiring, "acme/tenant", 1, 1, ""),
		updated("acme/tenant", 1), updated("acme/tenant/alice", 1))
	r.wantNext(updated("acme/tenant", 1), updated("acme/tenant/alice", 1))
}

func TestLiveDropsWhatIsNoNews(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := runReady(t, events.SubscribeConfig{}, live(t, b.natsServer))
	b.tell(t, updated("acme/alice", 2))
	b.repeat(t, updated("acme/alice", 2))
	b.tell(t, updated("acme/alice", 1), updated("acme/alice", 3))
	r.wantNext(updated("acme/alice", 2), updated("acme/alice", 3))
}

func TestLiveReportsWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := runReady(t, events.SubscribeConfig{}, live(t, b.natsServer))
	b.store(t, &nats.Msg{Subject: "token.updated.acme.alice", Data: []byte("{}")})
	b.tell(t, updated("acme/alice", 1))
	if err := r.fault(); !errors.Is(err, events.ErrEvent) {
		t.Errorf("reported %v, want ErrEvent", err)
	}
	r.wantNext(updated("acme/alice", 1))
}

func TestLiveHearsAgainAfterARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	reconnected := make(chan struct{}, 1)
	r := runReady(t, events.SubscribeConfig{}, live(t, b.natsServer,
		nats.ReconnectHandler(func(nc *nats.Conn) {
			_ = nc.Flush() // behind the subscriptions
			reconnected <- struct{}{}
		})))
	b.Stop()
	b.start(t)
	receive(t, reconnected, "the connection")
	_, b.js = b.connect(t)
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	r.stop()
}

// A handler that falls behind misses events, and somebody is told how many.
func TestLiveCountsWhatASlowHandlerMissed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	nc, _ := b.connect(t)
	busy, goOn := make(chan struct{}), make(chan struct{})
	r := runReady(t, events.SubscribeConfig{}, func(ctx context.Context, cfg events.SubscribeConfig, r *running) error {
		return events.Live(ctx, nc, cfg, func(e events.Event) {
			if e.Data.Version == 1 {
				close(busy)
				<-goOn
			}
		})
	})
	msg, err := events.Encode(b.names, updated("acme/alice", 1))
	if err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		for range n {
			if err := b.nc.PublishMsg(msg); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(1)
	receive(t, busy, "the handler")
	publish(events.LiveBuffer + 7)
	if err := errors.Join(b.nc.Flush(), nc.Flush()); err != nil { // nc has read them by now
		t.Fatal(err)
	}
	close(goOn)
	err = r.fault()
	if !errors.Is(err, nats.ErrSlowConsumer) || !strings.Contains(err.Error(), "7 events missed") {
		t.Errorf("reported %v, want 7 events missed", err)
	}
}

func TestLiveFailsWhenTheConnectionIsClosed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	nc, _ := b.connect(t)
	listen := func(ctx context.Context, cfg events.SubscribeConfig, r *running) error {
		return events.Live(ctx, nc, cfg, func(events.Event) {})
	}
	r := runReady(t, events.SubscribeConfig{}, listen)
	nc.Close()
	if err := r.end(); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("Live: %v, want ErrConnectionClosed", err)
	}
	if err := run(t, events.SubscribeConfig{}, listen).end(); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("Live on a closed connection: %v, want ErrConnectionClosed", err)
	}
}

// A denied subscription is silent on the wire; it must not look like a quiet night.
func TestLiveFailsWhenTheSubscriptionIsDenied(t *testing.T) {
	t.Parallel()
	s := startServer(t, &server.User{Username: "sub", Permissions: &server.Permissions{
		Subscribe: &server.SubjectPermission{Allow: []string{"token.updated.acme.>", "_INBOX.>"}},
	}})
	allowed := events.Filter{Types: []events.Type{events.TokenUpdated}, Provider: "acme"}
	runReady(t, events.SubscribeConfig{Filter: allowed}, live(t, s, nats.UserInfo("sub", ""))).stop()

	denied := events.Filter{Types: []events.Type{events.TokenRevoked}}
	err := run(t, events.SubscribeConfig{Filter: denied}, live(t, s, nats.UserInfo("sub", ""))).end()
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "token.revoked.>") {
		t.Errorf("Live: %v, want a permission violation that names token.revoked.>", err)
	}
}

func TestSubscribersRefuseAWrongFilter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cfg := events.SubscribeConfig{Filter: events.Filter{Account: "alice"}, Durable: "app"}
	for name, err := range map[string]error{
		"Live":    events.Live(t.Context(), b.nc, cfg, nil),
		"Durable": events.Durable(t.Context(), b.js, cfg, nil),
		"Replay":  events.Replay(t.Context(), b.js, cfg, nil),
	} {
		if !errors.Is(err, events.ErrName) {
			t.Errorf("%s: %v, want ErrName", name, err)
		}
	}
}

// A subscriber that starts while the server is away is ready once it is back.
func TestLiveWaitsForTheServer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	down := make(chan struct{}, 1)
	subscribe := live(t, b.natsServer, nats.DisconnectErrHandler(func(*nats.Conn, error) { down <- struct{}{} }))
	b.Stop()
	receive(t, down, "the disconnection")
	r := run(t, events.SubscribeConfig{}, subscribe)
	if err := r.fault(); err == nil {
		t.Error("reported nothing")
	}
	b.start(t)
	receive(t, r.ready, "the subscriber")
	_, b.js = b.connect(t)
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
}
