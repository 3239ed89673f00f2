package events_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
)

// patience bounds every wait in these tests. It is reached only when something is broken.
const patience = 30 * time.Second

// natsServer is a real server that these tests connect to in their own way.
type natsServer struct{ *natstest.Server }

// fataler is what the helpers need of a test; examples bring their own.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func startServer(t testing.TB, users ...*server.User) *natsServer {
	t.Helper()
	return &natsServer{natstest.Run(t, natstest.Options{Users: users})}
}

// start brings the server up again.
func (s *natsServer) start(t fataler) {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

// connect returns a connection that lives as long as the test.
func (s *natsServer) connect(t *testing.T, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, js := s.dial(t, opts...)
	t.Cleanup(nc.Close)
	return nc, js
}

func (s *natsServer) dial(t fataler, opts ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	opts = append([]nats.Option{
		nats.InProcessServer(s), nats.ReconnectBufSize(-1), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, opts...)
	nc, err := nats.Connect("", opts...)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func createStream(t fataler, js jetstream.JetStream, names events.Names) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateStream(context.Background(), jetstream.StreamConfig{
		Name: names.EventsStream(), Subjects: names.EventsSubjects(), Duplicates: 10 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// bench is what most subscriber tests need: a server with the events stream and a connection to it.
type bench struct {
	*natsServer
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	names  events.Names
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{natsServer: startServer(t)}
	b.nc, b.js = b.connect(t)
	b.stream = createStream(t, b.js, b.names)
	return b
}

// tell publishes through a Publisher.
func (b *bench) tell(t *testing.T, told ...events.Event) {
	t.Helper()
	p := events.NewPublisher(b.js, b.names)
	for _, e := range told {
		if err := p.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// repeat stores an event again that the stream knows already, as when it is told after the dedup window.
func (b *bench) repeat(t *testing.T, e events.Event) {
	t.Helper()
	msg, err := events.Encode(b.names, e)
	if err != nil {
		t.Fatal(err)
	}
	msg.Header.Del(jetstream.MsgIDHeader)
	b.store(t, msg)
}

func (b *bench) store(t *testing.T, msg *nats.Msg) {
	t.Helper()
	if _, err := b.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

// running is a subscriber at work.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	ready  chan struct{}
	events chan events.Event
	faults chan error
	done   chan error
}

// subscriber is Live, Durable or Replay on some connection. Its configuration's hooks feed the channels of running,
// its handler is to do so as well.
type subscriber func(ctx context.Context, cfg events.SubscribeConfig, r *running) error

// run starts a subscriber and stops it with the test.
func run(t *testing.T, cfg events.SubscribeConfig, subscribe subscriber) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{
		t: t, cancel: cancel, ready: make(chan struct{}),
		events: make(chan events.Event, 1000), faults: make(chan error, 1000), done: make(chan error, 1),
	}
	cfg.OnReady = func() { close(r.ready) }
	cfg.OnError = func(err error) { r.faults <- err }
	go func() {
		r.done <- subscribe(ctx, cfg, r)
		close(r.done)
	}()
	t.Cleanup(func() {
		cancel()
		for range r.done {
		}
	})
	return r
}

// runReady is run, and waits until the subscriber hears.
func runReady(t *testing.T, cfg events.SubscribeConfig, subscribe subscriber) *running {
	t.Helper()
	r := run(t, cfg, subscribe)
	select {
	case <-r.ready:
	case err := <-r.done:
		t.Fatalf("ended before it was ready: %v", err)
	case <-time.After(patience):
		t.Fatalf("never became ready: %v", drainFaults(r))
	}
	return r
}

// drainFaults returns what OnError has heard so far.
func drainFaults(r *running) (faults []error) {
	for {
		select {
		case err := <-r.faults:
			faults = append(faults, err)
		default:
			return faults
		}
	}
}

// next returns the next event that was handled.
func (r *running) next() events.Event {
	r.t.Helper()
	return receive(r.t, r.events, "an event")
}

// fault returns the next error that OnError heard.
func (r *running) fault() error {
	r.t.Helper()
	return receive(r.t, r.faults, "an error")
}

// end returns what the subscriber returned.
func (r *running) end() error {
	r.t.Helper()
	return receive(r.t, r.done, "the end")
}

// stop ends the subscriber and wants a clean end.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if err := r.end(); err != nil {
		r.t.Fatalf("stopped with %v, want nil", err)
	}
}

func receive[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// wantNext wants exactly these events, in this order.
func (r *running) wantNext(want ...events.Event) {
	r.t.Helper()
	for _, w := range want {
		if got := r.next(); got.ID != w.ID {
			r.t.Fatalf("got %s, want %s", got.ID, w.ID)
		}
	}
}

// at is a moment for events to happen at.
var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// updated is token.updated of a credential at a version.
func updated(credential string, version uint64) events.Event {
	return tokenEvent(events.TokenUpdated, credential, 1, version, "")
}

func tokenEvent(t events.Type, credential string, generation, version uint64, attempt string) events.Event {
	c, err := events.ParseCredential(credential)
	if err != nil {
		panic(err)
	}
	d := events.Data{
		Provider: c.Provider, Account: c.Account, GrantID: "grant-" + c.String(), Generation: generation, Version: version,
		State: "active", Attempt: attempt,
	}
	return events.Event{ID: events.TokenEventID(t, d), Source: "freshet/test", Type: t, Time: at, Data: d}
}

func providerEvent(t events.Type, provider string, revision uint64) events.Event {
	return events.Event{
		ID: events.ProviderEventID(t, provider, revision), Source: "freshet/test", Type: t, Time: at,
		Data: events.Data{Provider: provider, Revision: revision},
	}
}
