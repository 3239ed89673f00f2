package broker_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
)

func TestServerVersion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		version string
		old, ok bool
	}{
		{"2.12.0", false, true},
		{"2.12.0-RC.1", false, true},
		{"v2.15.2", false, true},
		{"3.0.0", false, true},
		{"2.11.9", true, false},
		{"2.9.25", true, false},
		{"1.4.1", true, false},
		{"", false, false},
		{"latest", false, false},
		{"2.x", false, false},
	} {
		err := broker.CheckVersion(tt.version)
		if (err == nil) != tt.ok || errors.Is(err, broker.ErrServerTooOld) != tt.old {
			t.Errorf("%q: %v", tt.version, err)
		}
		if tt.old && (!strings.Contains(err.Error(), tt.version) || !strings.Contains(err.Error(), "2.12")) {
			t.Errorf("%q: want both versions named, got %q", tt.version, err)
		}
	}
}

func TestCheckServer(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{})
	b := newBroker(t, n.connect(), broker.Config{})
	if err := b.CheckServer(); err != nil {
		t.Fatal(err)
	}
	natstest.Close(b.Conn())
	if err := b.CheckServer(); !errors.Is(err, nats.ErrDisconnected) {
		t.Fatalf("want ErrDisconnected, got %v", err)
	}
}

func TestDomainAndPrefixExcludeEachOther(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{})
	if _, err := broker.New(n.connect(), broker.Config{Domain: "hub", APIPrefix: "JS.acc"}); err == nil {
		t.Fatal("want an error")
	}
}

func TestJetStreamBehindADomain(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{JetStreamDomain: "hub"})
	b := newBroker(t, n.connect(), broker.Config{Domain: "hub"})
	mustSetup(t, b)
	lane := mustLane(t, b, acme())
	rev := mustPut(t, b, record("alice", 1), 0)
	if s, err := b.Get(t.Context(), credential("alice")); err != nil || s.Revision != rev {
		t.Errorf("got %+v, %v", s, err)
	}
	w := watch(t, b, broker.WatchConfig{Once: true})
	if err := receive(t, w.ended); err != nil || len(w.seen) != 1 {
		t.Errorf("%d seen, %v", len(w.seen), err)
	}
	mustQueue(t, b, "alice")
	h := newHands()
	runLane(t, lane, 1, h.handle)
	receive(t, h.started)
	h.release <- struct{}{}
}

func TestPublishWhileAwayFailsAtOnce(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{})
	lost, back := make(chan error, 100), make(chan string, 100)
	nc := n.connectWith(broker.ConnectHooks{
		Disconnected: func(err error) { lost <- err },
		Reconnected:  func(url string) { back <- url },
	})
	receive(t, back)
	b := newBroker(t, nc, broker.Config{})
	mustSetup(t, b)
	n.Stop()
	receive(t, lost)
	if err := b.PublishJob(t.Context(), "acme.alice", job(1), ""); !errors.Is(err, nats.ErrReconnectBufExceeded) {
		t.Fatalf("want ErrReconnectBufExceeded, got %v", err)
	}
	n.start()
	receive(t, back)
	if err := b.PublishJob(t.Context(), "acme.alice", job(1), ""); err != nil {
		t.Fatalf("the job of before must not have landed: %v", err)
	}
}
