package events_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

// replay reads through a connection of its own.
func replay(t *testing.T, s *natsServer, handle events.Handler) subscriber {
	_, js := s.connect(t)
	return func(ctx context.Context, cfg events.SubscribeConfig, r *running) error {
		return events.Replay(ctx, js, cfg, r.passing(handle))
	}
}

// history returns what a replay hands over before it ends.
func history(t *testing.T, b *bench, cfg events.SubscribeConfig) []string {
	t.Helper()
	var ids []string
	err := events.Replay(t.Context(), b.js, cfg, func(_ context.Context, e events.Event) error {
		ids = append(ids, e.ID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func wantHistory(t *testing.T, b *bench, cfg events.SubscribeConfig, want ...events.Event) {
	t.Helper()
	var ids []string
	for _, e := range want {
		ids = append(ids, e.ID)
	}
	if got := history(t, b, cfg); fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("history %v, want %v", got, ids)
	}
}

func TestReplayReadsTheHistoryAndEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	wantHistory(t, b, events.SubscribeConfig{}) // nothing yet

	first := []events.Event{updated("acme/alice", 1), updated("zeta/bob", 1)}
	b.tell(t, first...)
	between := storedAt(t, b.stream).Add(time.Nanosecond)
	second := []events.Event{updated("acme/alice", 2), providerEvent(events.ProviderPaused, "acme", 1)}
	b.tell(t, second...)

	wantHistory(t, b, events.SubscribeConfig{}, append(first, second...)...)
	wantHistory(t, b, events.SubscribeConfig{Since: time.Unix(0, 0)}, append(first, second...)...)
	wantHistory(t, b, events.SubscribeConfig{Since: between}, second...)
	wantHistory(t, b, events.SubscribeConfig{Filter: events.Filter{Provider: "zeta"}}, first[1])
	wantHistory(t, b, events.SubscribeConfig{Since: storedAt(t, b.stream).Add(time.Hour)})

	consumers := b.stream.ListConsumers(t.Context())
	for info := range consumers.Info() {
		t.Errorf("consumer %s is left behind", info.Name)
	}
}

func TestReplayDropsWhatIsNoNews(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/alice", 2))
	b.repeat(t, updated("acme/alice", 2))
	b.tell(t, updated("acme/alice", 1), updated("acme/alice", 3))
	wantHistory(t, b, events.SubscribeConfig{}, updated("acme/alice", 2), updated("acme/alice", 3))
}

func TestReplayPassesOverWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/alice", 1))
	b.store(t, &nats.Msg{Subject: "provider.paused.acme", Data: []byte("{}")})
	var faults []error
	cfg := events.SubscribeConfig{OnError: func(err error) { faults = append(faults, err) }}
	wantHistory(t, b, cfg, updated("acme/alice", 1))
	if len(faults) != 1 || !errors.Is(faults[0], events.ErrEvent) {
		t.Errorf("reported %v, want one ErrEvent", faults)
	}
}

// What is told while a replay runs is not history.
func TestReplayEndsAtWhatWasThereWhenItBegan(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/alice", 1), updated("acme/alice", 2))
	handled := 0
	err := events.Replay(t.Context(), b.js, events.SubscribeConfig{}, func(_ context.Context, e events.Event) error {
		handled++
		b.tell(t, updated("acme/alice", e.Data.Version+10))
		return nil
	})
	if err != nil || handled != 2 {
		t.Errorf("handled %d events, %v, want 2", handled, err)
	}
}

func TestReplayFollows(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/alice", 1))
	r := runReady(t, events.SubscribeConfig{Follow: true}, replay(t, b.natsServer, nil))
	b.tell(t, updated("acme/alice", 2))
	r.wantNext(updated("acme/alice", 1), updated("acme/alice", 2))
	b.tell(t, updated("acme/alice", 3))
	r.wantNext(updated("acme/alice", 3))
	r.stop()
}

func TestReplayEndsWithTheHandlersError(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/alice", 1), updated("acme/alice", 2))
	broken := errors.New("broken pipe")
	r := run(t, events.SubscribeConfig{Follow: true}, replay(t, b.natsServer, func(_ context.Context, e events.Event) error {
		if e.Data.Version == 2 {
			return broken
		}
		return nil
	}))
	r.wantNext(updated("acme/alice", 1))
	if err := r.end(); !errors.Is(err, broken) {
		t.Errorf("Replay: %v, want %v", err, broken)
	}
}

func TestReplayThatIsCutShortSaysSo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell(t, updated("acme/alice", 1), updated("acme/alice", 2))
	ctx, cancel := context.WithCancel(t.Context())
	err := events.Replay(ctx, b.js, events.SubscribeConfig{}, func(context.Context, events.Event) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Replay: %v, want context.Canceled", err)
	}
}

// The server goes away in the middle of the history, with the replay's consumer. Nothing is lost, nothing comes twice.
func TestReplaySurvivesARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var told []events.Event
	for i := range 300 { // more than a reader holds ready
		told = append(told, updated(fmt.Sprintf("acme/%d", i), 1))
	}
	b.tell(t, told...)
	restart := func(_ context.Context, e events.Event) error {
		if e.ID == told[10].ID {
			b.Stop()
			b.start(t)
		}
		return nil
	}
	r := run(t, events.SubscribeConfig{}, replay(t, b.natsServer, restart))
	r.wantNext(told...)
	if err := r.end(); err != nil {
		t.Errorf("Replay: %v", err)
	}
}

// The connection breaks while messages are on their way; the server takes them for delivered.
func TestReplayReadsAgainWhatGotLostOnTheWay(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{
		"and more comes behind": 400, // more than a reader holds ready
		"and nothing follows":   100,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var told []events.Event
			for i := range n {
				told = append(told, updated(fmt.Sprintf("acme/%d", i), 1))
			}
			b.tell(t, told...)
			_, js := b.dial(t, nats.InProcessServer(&breaking{natsServer: b.natsServer, after: 20 << 10}))
			t.Cleanup(js.Conn().Close)
			r := run(t, events.SubscribeConfig{}, func(ctx context.Context, cfg events.SubscribeConfig, r *running) error {
				return events.Replay(ctx, js, cfg, r.passing(nil))
			})
			r.wantNext(told...)
			if err := r.end(); err != nil {
				t.Errorf("Replay: %v", err)
			}
			if js.Conn().Stats().Reconnects != 1 || len(r.faults) == 0 {
				t.Errorf("%d reconnects, %d errors reported: nothing broke", js.Conn().Stats().Reconnects, len(r.faults))
			}
		})
	}
}

// breaking gives a client one connection that breaks when it has read so many bytes; the next ones last.
type breaking struct {
	*natsServer
	after int
	once  sync.Once
}

func (s *breaking) InProcessConn() (net.Conn, error) {
	conn, err := s.natsServer.InProcessConn()
	if err == nil {
		s.once.Do(func() { conn = &breakingConn{Conn: conn, left: s.after} })
	}
	return conn, err
}

type breakingConn struct {
	net.Conn
	left int
}

func (c *breakingConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// A request for messages gets lost, as it does when the node of a cluster that holds it goes away: the consumer has messages,
// sends none, and takes none for delivered.
func TestReplayAsksAgainWhenNobodySendsWhatIsThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	told := []events.Event{updated("acme/alice", 1), updated("acme/bob", 1), updated("acme/carol", 1)}
	b.tell(t, told...)
	_, js := b.connect(t, nats.InProcessServer(&misdirecting{natsServer: b.natsServer}))
	r := run(t, events.SubscribeConfig{Follow: true}, func(ctx context.Context, cfg events.SubscribeConfig, r *running) error {
		return events.Replay(ctx, js, cfg, r.passing(nil))
	})
	r.wantNext(told...)
	r.stop()
}

// misdirecting sends a client's first request for messages to nobody.
type misdirecting struct{ *natsServer }

func (s *misdirecting) InProcessConn() (net.Conn, error) {
	conn, err := s.natsServer.InProcessConn()
	return &misdirectingConn{Conn: conn}, err
}

type misdirectingConn struct {
	net.Conn
	once sync.Once
}

func (c *misdirectingConn) Write(b []byte) (int, error) {
	if from := []byte(".MSG.NEXT."); bytes.Contains(b, from) {
		c.once.Do(func() { b = bytes.Replace(b, from, []byte(".MSG.LOST."), 1) })
	}
	return c.Conn.Write(b)
}

// The rest of the history is dropped from the stream while it is read: the replay ends all the same.
func TestReplayEndsWhenTheHistoryVanishes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 300 {
		b.tell(t, updated(fmt.Sprintf("acme/%d", i), 1))
	}
	purged := false
	err := events.Replay(t.Context(), b.js, events.SubscribeConfig{}, func(context.Context, events.Event) error {
		if purged {
			return nil
		}
		purged = true
		return b.stream.Purge(t.Context())
	})
	if err != nil {
		t.Errorf("Replay: %v", err)
	}
}
