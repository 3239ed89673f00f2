package events_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/events"
)

func TestPublishStoresTheEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	e := updated("acme/alice", 1)
	b.tell(t, e)
	raw, err := b.stream.GetLastMsgForSubject(t.Context(), "token.updated.acme.alice")
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.Decode(b.names, &nats.Msg{Subject: raw.Subject, Header: raw.Header, Data: raw.Data})
	if err != nil || got != e {
		t.Errorf("stored %+v, %v, want %+v", got, err, e)
	}
}

func TestPublishTwiceStoresOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	e := updated("acme/alice", 1)
	retold := e
	retold.Source, retold.Time = "freshet/another", at.AddDate(0, 0, 1)
	b.tell(t, e, retold, providerEvent(events.ProviderPaused, "acme", 1), e)
	info, err := b.stream.Info(t.Context())
	if err != nil || info.State.Msgs != 2 {
		t.Errorf("%d messages stored, %v, want 2", info.State.Msgs, err)
	}
}

func TestPublishInANamespace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	staging, err := events.NewNames("staging")
	if err != nil {
		t.Fatal(err)
	}
	stream := createStream(t, b.js, staging)
	if err := events.NewPublisher(b.js, staging).Publish(t.Context(), updated("acme/alice", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.GetLastMsgForSubject(t.Context(), "staging.token.updated.acme.alice"); err != nil {
		t.Error(err)
	}
	if info, err := b.stream.Info(t.Context()); err != nil || info.State.Msgs != 0 {
		t.Errorf("the default namespace got %d messages, %v", info.State.Msgs, err)
	}
}

func TestPublishFails(t *testing.T) {
	t.Parallel()
	t.Run("when the event is not fit to be told", func(t *testing.T) {
		t.Parallel()
		_, js := startServer(t).connect(t)
		e := updated("acme/alice", 1)
		e.ID = ""
		if err := events.NewPublisher(js, events.Names{}).Publish(t.Context(), e); err == nil {
			t.Error("published")
		}
	})
	t.Run("when there is no stream", func(t *testing.T) {
		t.Parallel()
		_, js := startServer(t).connect(t)
		err := events.NewPublisher(js, events.Names{}).Publish(t.Context(), updated("acme/alice", 1))
		if !errors.Is(err, jetstream.ErrNoStreamResponse) {
			t.Errorf("Publish: %v, want ErrNoStreamResponse", err)
		}
	})
	t.Run("when another stream has the subjects", func(t *testing.T) {
		t.Parallel()
		_, js := startServer(t).connect(t)
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"token.>"}}); err != nil {
			t.Fatal(err)
		}
		if err := events.NewPublisher(js, events.Names{}).Publish(t.Context(), updated("acme/alice", 1)); err == nil {
			t.Error("published")
		}
	})
	t.Run("when ctx has ended", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := events.NewPublisher(b.js, b.names).Publish(ctx, updated("acme/alice", 1))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Publish: %v, want context.Canceled", err)
		}
	})
}

// The stream is away for a moment, as while its leader changes: nobody answers, and Publish waits.
func TestPublishOutlivesAShortAbsenceOfTheStream(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	_, admin := s.connect(t)
	tap := &tapped{natsServer: s, sent: make(chan struct{})}
	nc, err := nats.Connect("", nats.InProcessServer(tap))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() {
		published <- events.NewPublisher(js, events.Names{}).Publish(context.Background(), updated("acme/alice", 1))
	}()
	receive(t, tap.sent, "the first try")
	stream := createStream(t, admin, events.Names{})
	if err := receive(t, published, "Publish"); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.GetLastMsgForSubject(t.Context(), "token.updated.acme.alice"); err != nil {
		t.Error(err)
	}
}

// tapped closes sent when a client has sent an event.
type tapped struct {
	*natsServer
	sent chan struct{}
}

func (s *tapped) InProcessConn() (net.Conn, error) {
	conn, err := s.natsServer.InProcessConn()
	if err != nil {
		return nil, err
	}
	return &tappedConn{Conn: conn, once: sync.OnceFunc(func() { close(s.sent) })}, nil
}

type tappedConn struct {
	net.Conn
	once func()
}

func (c *tappedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if bytes.Contains(b, []byte("HPUB token.")) {
		c.once()
	}
	return n, err
}
