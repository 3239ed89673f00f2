package events_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/events"
)

// durable subscribes through a connection of its own. handle is asked before an event is passed on; nil agrees always.
func durable(t *testing.T, s *natsServer, handle events.Handler, opts ...nats.Option) subscriber {
	_, js := s.connect(t, opts...)
	return func(ctx context.Context, cfg events.SubscribeConfig, r *running) error {
		return events.Durable(ctx, js, cfg, r.passing(handle))
	}
}

// passing returns a handler that passes on what handle agrees to.
func (r *running) passing(handle events.Handler) events.Handler {
	return func(ctx context.Context, e events.Event) error {
		if handle != nil {
			if err := handle(ctx, e); err != nil {
				return err
			}
		}
		r.events <- e
		return nil
	}
}

var app = events.SubscribeConfig{Durable: "app", RetryDelay: time.Millisecond}

func TestDurableResumesWhereItStopped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/early", 1)) // before the name existed
	r := runReady(t, app, durable(t, b.natsServer, nil))
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	r.stop()

	missed := []events.Event{updated("acme/alice", 2), providerEvent(events.ProviderPaused, "acme", 1), updated("acme/bob", 1)}
	b.tell(t, missed...)
	again := runReady(t, app, durable(t, b.natsServer, nil))
	b.tell(t, updated("acme/bob", 2))
	again.wantNext(append(missed, updated("acme/bob", 2))...)
	again.stop()
}

func TestDurableBegins(t *testing.T) {
	t.Parallel()
	old, recent := updated("acme/old", 1), updated("acme/recent", 1)
	for name, tt := range map[string]struct {
		since func(between time.Time) time.Time
		want  []events.Event
	}{
		"at the start": {func(time.Time) time.Time { return time.Unix(0, 0) }, []events.Event{old, recent}},
		"at a time":    {func(between time.Time) time.Time { return between }, []events.Event{recent}},
		"now":          {func(time.Time) time.Time { return time.Time{} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.tell(t, old)
			between := storedAt(t, b.stream).Add(time.Nanosecond)
			b.tell(t, recent)
			cfg := app
			cfg.Since = tt.since(between)
			r := runReady(t, cfg, durable(t, b.natsServer, nil))
			b.tell(t, updated("acme/new", 1))
			r.wantNext(append(tt.want, updated("acme/new", 1))...)
		})
	}
}

// storedAt returns the server's time of the last event.
func storedAt(t *testing.T, stream jetstream.Stream) time.Time {
	t.Helper()
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.LastTime
}

func TestDurableTriesAgainAfterAnErrorOfTheHandler(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tries := 0
	r := runReady(t, app, durable(t, b.natsServer, func(_ context.Context, e events.Event) error {
		if e.Data.Account != "alice" {
			return nil
		}
		if tries++; tries <= 2 {
			return fmt.Errorf("try %d", tries)
		}
		return nil
	}))
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	for _, want := range []string{"try 1", "try 2"} {
		if err := r.fault(); !strings.Contains(err.Error(), want) {
			t.Errorf("reported %v, want %s", err, want)
		}
	}
	b.tell(t, updated("acme/bob", 1))
	r.wantNext(updated("acme/bob", 1))
}

// While one event fails, others go on; when it comes again it is no news any more.
func TestDurableDropsAFailedEventThatWasOvertaken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cfg := app
	cfg.RetryDelay = 10 * time.Millisecond
	failed := make(chan struct{})
	fail := sync.OnceFunc(func() { close(failed) })
	r := runReady(t, cfg, durable(t, b.natsServer, func(_ context.Context, e events.Event) error {
		if e.Data.Version == 1 {
			fail()
			return errors.New("not this one")
		}
		return nil
	}))
	b.tell(t, updated("acme/alice", 1), updated("acme/alice", 2))
	receive(t, failed, "the failure")
	r.wantNext(updated("acme/alice", 2))
	waitSettled(t, b, "app")
	select {
	case e := <-r.events:
		t.Errorf("handled %s as well", e.ID)
	default:
	}
}

// waitSettled waits until the server has nothing left to send under a name.
func waitSettled(t *testing.T, b *bench, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		cons, err := b.js.Consumer(ctx, b.names.EventsStream(), name)
		if err != nil {
			t.Fatal(err)
		}
		if info := cons.CachedInfo(); info.NumPending == 0 && info.NumAckPending == 0 {
			return
		}
	}
}

func TestDurableDropsWhatIsNoNews(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/alice", 2))
	b.repeat(t, updated("acme/alice", 2))
	b.tell(t, updated("acme/alice", 1), updated("acme/alice", 3))
	cfg := app
	cfg.Since = time.Unix(0, 0)
	r := runReady(t, cfg, durable(t, b.natsServer, nil))
	r.wantNext(updated("acme/alice", 2), updated("acme/alice", 3))
	waitSettled(t, b, "app")
}

func TestDurableRemovesWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := runReady(t, app, durable(t, b.natsServer, nil))
	b.store(t, &nats.Msg{Subject: "token.updated.acme.alice", Data: []byte("{}")})
	if err := r.fault(); !errors.Is(err, events.ErrEvent) {
		t.Errorf("reported %v, want ErrEvent", err)
	}
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	waitSettled(t, b, "app")
	select {
	case err := <-r.faults:
		t.Errorf("reported again: %v", err)
	default:
	}
}

func TestDurableSurvivesARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := runReady(t, app, durable(t, b.natsServer, nil))
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	for restart := range uint64(2) {
		b.Stop()
		b.start(t)
		_, b.js = b.connect(t)
		b.tell(t, updated("acme/alice", 2+restart), updated("acme/bob", 1+restart))
		r.wantNext(updated("acme/alice", 2+restart), updated("acme/bob", 1+restart))
	}
	r.stop()
}

// What was fetched and not handled goes back at once: the AckWait here is longer than the test's patience.
func TestDurableGivesBackWhatItDidNotHandle(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cfg := app
	cfg.AckWait, cfg.Since = time.Hour, time.Unix(0, 0)
	told := []events.Event{updated("acme/a", 1), updated("acme/b", 1), updated("acme/c", 1)}
	b.tell(t, told...)
	busy := make(chan struct{})
	r := runReady(t, cfg, durable(t, b.natsServer, func(ctx context.Context, _ events.Event) error {
		close(busy)
		<-ctx.Done()
		return ctx.Err()
	}))
	receive(t, busy, "the handler")
	r.stop()

	again := runReady(t, cfg, durable(t, b.natsServer, nil))
	left := map[string]bool{}
	for _, e := range told {
		left[e.ID] = true
	}
	for range told { // the server promises no order of what comes again
		e := again.next()
		if !left[e.ID] {
			t.Errorf("got %s, which was not told or came twice", e.ID)
		}
		delete(left, e.ID)
	}
}

func TestDurableFollowsItsFilter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	cfg := app
	cfg.Filter = events.Filter{Types: []events.Type{events.TokenUpdated}, Provider: "acme"}
	r := runReady(t, cfg, durable(t, b.natsServer, nil))
	b.tell(t, updated("zeta/alice", 1), updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	r.stop()

	cfg.Filter = events.Filter{}
	r = runReady(t, cfg, durable(t, b.natsServer, nil))
	b.tell(t, updated("zeta/alice", 2), updated("acme/alice", 2))
	r.wantNext(updated("zeta/alice", 2), updated("acme/alice", 2))
	r.stop()
}

func TestDurableMakesUpForADeletedConsumer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := runReady(t, app, durable(t, b.natsServer, nil))
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	if err := b.stream.DeleteConsumer(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	b.tell(t, updated("acme/alice", 2))
	if err := r.fault(); !errors.Is(err, jetstream.ErrConsumerDeleted) {
		t.Errorf("reported %v, want ErrConsumerDeleted", err)
	}
	r.wantNext(updated("acme/alice", 2))
}

func TestDurableMakesUpForANewStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := runReady(t, app.WithHeartbeat(500*time.Millisecond), durable(t, b.natsServer, nil))
	b.tell(t, updated("acme/alice", 1), updated("acme/alice", 2))
	r.wantNext(updated("acme/alice", 1), updated("acme/alice", 2))
	if err := b.js.DeleteStream(t.Context(), b.names.EventsStream()); err != nil {
		t.Fatal(err)
	}
	if err := r.fault(); err == nil {
		t.Error("reported nothing")
	}
	b.stream = createStream(t, b.js, b.names)
	b.tell(t, updated("acme/alice", 3))
	r.wantNext(updated("acme/alice", 3))
}

// The connection is fine and nobody answers: the consumer vanished while we were away. The missing heartbeat
// tells, and what was told meanwhile is made up for.
func TestDurableNoticesASilentServer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	gate := &gated{natsServer: b.natsServer}
	r := runReady(t, app.WithHeartbeat(500*time.Millisecond), durable(t, b.natsServer, nil, nats.InProcessServer(gate)))
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	gate.shut()
	if err := b.stream.DeleteConsumer(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	b.tell(t, updated("acme/alice", 2))
	gate.open()
	if err := r.fault(); !errors.Is(err, jetstream.ErrNoHeartbeat) {
		t.Errorf("reported %v, want ErrNoHeartbeat", err)
	}
	r.wantNext(updated("acme/alice", 2))
}

// gated connects one client, and can cut it off.
type gated struct {
	*natsServer
	mu     sync.Mutex
	closed bool
	conn   net.Conn
}

func (g *gated) InProcessConn() (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errors.New("the gate is shut")
	}
	var err error
	g.conn, err = g.natsServer.InProcessConn()
	return g.conn, err
}

func (g *gated) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	_ = g.conn.Close()
}

func (g *gated) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}

func TestDurableFails(t *testing.T) {
	t.Parallel()
	t.Run("without a name", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		for _, name := range []string{"", "a.b", "a b", strings.Repeat("a", 65)} {
			cfg := events.SubscribeConfig{Durable: name}
			if err := events.Durable(t.Context(), b.js, cfg, nil); !errors.Is(err, events.ErrName) {
				t.Errorf("name %q: %v, want ErrName", name, err)
			}
		}
	})
	t.Run("without a stream", func(t *testing.T) {
		t.Parallel()
		_, js := startServer(t).connect(t)
		if err := events.Durable(t.Context(), js, app, nil); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("Durable: %v, want ErrStreamNotFound", err)
		}
	})
	t.Run("when the connection is closed", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		nc, js := b.connect(t)
		r := runReady(t, app, func(ctx context.Context, cfg events.SubscribeConfig, r *running) error {
			return events.Durable(ctx, js, cfg, r.passing(nil))
		})
		nc.Close()
		if err := r.end(); !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("Durable: %v, want ErrConnectionClosed", err)
		}
	})
}

// A subscriber may have the right to use a consumer that was made for it, and no other.
func TestDurableUnderPermissions(t *testing.T) {
	t.Parallel()
	s := startServer(t,
		&server.User{Username: "admin"},
		&server.User{Username: "sub", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{
				"$JS.API.CONSUMER.INFO.TOKEN_EVENTS.app", "$JS.API.CONSUMER.MSG.NEXT.TOKEN_EVENTS.app", "$JS.ACK.TOKEN_EVENTS.app.>",
			}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}})
	b := &bench{natsServer: s}
	b.nc, b.js = s.connect(t, nats.UserInfo("admin", ""))
	b.stream = createStream(t, b.js, b.names)
	runReady(t, app, durable(t, s, nil, nats.UserInfo("admin", ""))).stop() // makes it

	r := runReady(t, app, durable(t, s, nil, nats.UserInfo("sub", "")))
	b.tell(t, updated("acme/alice", 1))
	r.wantNext(updated("acme/alice", 1))
	waitSettled(t, b, "app")
	r.stop()

	_, js := s.connect(t, nats.UserInfo("sub", ""))
	impatient, err := jetstream.New(js.Conn(), jetstream.WithDefaultTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	err = events.Durable(t.Context(), impatient, events.SubscribeConfig{Durable: "other"}, nil)
	if !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("another name: %v, want a permission violation", err)
	}
}

func BenchmarkDurable(b *testing.B) {
	s := startServer(b)
	nc, js := s.dial(b)
	b.Cleanup(nc.Close)
	createStream(b, js, events.Names{})
	for i := range b.N {
		msg, err := events.Encode(events.Names{}, updated(fmt.Sprintf("acme/%d", i), 1))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishMsgAsync(msg); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	b.ReportAllocs()
	b.ResetTimer()
	n := b.N
	ctx, cancel := context.WithCancel(b.Context())
	cfg := events.SubscribeConfig{Durable: "bench", Since: time.Unix(0, 0)}
	err := events.Durable(ctx, js, cfg, func(context.Context, events.Event) error {
		if n--; n == 0 {
			cancel()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
