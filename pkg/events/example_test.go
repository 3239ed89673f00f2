package events_test

import (
	"context"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
)

// A program that wants to know at once, and can live with missing something while it is away.
func ExampleLive() {
	nc, js, closeAll := exampleServer()
	defer closeAll()
	ctx, cancel := context.WithCancel(context.Background())

	cfg := events.SubscribeConfig{
		Filter:  events.Filter{Types: []events.Type{events.TokenUpdated}, Provider: "acme"},
		OnReady: func() { exampleTell(js, "acme/alice", "zeta/bob", "acme/carol") },
	}
	err := events.Live(ctx, nc, cfg, func(e events.Event) {
		fmt.Println(e.Type, e.Data.Credential(), "version", e.Data.Version)
		if e.Data.Account == "carol" {
			cancel()
		}
	})
	fmt.Println("ended:", err)
	// Output:
	// token.updated acme/alice version 1
	// token.updated acme/carol version 1
	// ended: <nil>
}

// A program that must not miss anything: it was down while bob and carol got new tokens.
func ExampleDurable() {
	_, js, closeAll := exampleServer()
	defer closeAll()
	exampleTell(js, "acme/bob", "acme/carol")

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg := events.SubscribeConfig{Durable: "billing", Since: time.Now().Add(-time.Hour)}
	err := events.Durable(ctx, js, cfg, func(_ context.Context, e events.Event) error {
		fmt.Println(e.Type, e.Data.Credential())
		if e.Data.Account == "carol" {
			cancel()
		}
		return nil // an error would bring the event again
	})
	fmt.Println("ended:", err)
	// Output:
	// token.updated acme/bob
	// token.updated acme/carol
	// ended: <nil>
}
