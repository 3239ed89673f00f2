package events_test

import (
	"context"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
)

// panics is the fataler of the examples.
type panics struct{}

func (panics) Helper()           {}
func (panics) Fatal(args ...any) { panic(args) }

// exampleServer returns connections to a server with the events stream, and what ends them.
func exampleServer() (*nats.Conn, jetstream.JetStream, func()) {
	dir, err := os.MkdirTemp("", "freshet-example")
	if err != nil {
		panic(err)
	}
	s := &natsServer{natstest.New(natstest.Options{StoreDir: dir})}
	s.start(panics{})
	nc, js := s.dial(panics{})
	createStream(panics{}, js, events.Names{})
	return nc, js, func() {
		nc.Close()
		s.Stop()
		_ = os.RemoveAll(dir)
	}
}

// exampleTell tells that these credentials got their first token.
func exampleTell(js jetstream.JetStream, credentials ...string) {
	p := events.NewPublisher(js, events.Names{})
	for _, c := range credentials {
		if err := p.Publish(context.Background(), updated(c, 1)); err != nil {
			panic(err)
		}
	}
}
