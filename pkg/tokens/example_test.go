package tokens_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/nats-io/nats.go"
	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// An API client that always sends a fresh token: x/oauth2 asks the source before each request.
func ExampleClient_TokenSource() {
	nc, keyset, stop := demo("alice")
	defer stop()
	client, err := tokens.Open(context.Background(), nc, tokens.Config{AccessKeyset: keyset})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	source := client.TokenSource("acme/alice")
	api := oauth2.NewClient(context.Background(), source) // api.Get("https://api.example.com/…")
	_ = api

	token, err := source.Token()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.Type(), token.AccessToken)
	// Output: Bearer access-alice
}

// A nightly job that works through many accounts.
func ExampleClient_Get() {
	nc, keyset, stop := demo("alice", "bob")
	defer stop()
	client, err := tokens.Open(context.Background(), nc, tokens.Config{AccessKeyset: keyset})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	results, err := client.Get(context.Background(), "acme/alice", "acme/bob", "acme/carol")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range results {
		if r.Err != nil {
			fmt.Println(r.Err) // the others go on
			continue
		}
		fmt.Println(r.ID, r.Token.OAuth2().AccessToken)
	}
	// Output:
	// acme/alice access-alice
	// acme/bob access-bob
	// acme/carol: no such credential
}

// demo is a server with a token for each account.
func demo(accounts ...string) (nc *nats.Conn, access *seal.Keyset, stop func()) {
	t := &demoTB{}
	s := startServer(t)
	b := newBucket(t, s.connect(t), events.Names{})
	for _, account := range accounts {
		b.put(record(account), "access-"+account)
	}
	return s.connect(t), b.keys.Access, t.stop
}

// demoTB lets an example use the tests' fixtures.
type demoTB struct {
	testing.TB
	cleanup []func()
}

func (*demoTB) Helper()                  {}
func (*demoTB) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (*demoTB) Context() context.Context { return context.Background() }
func (t *demoTB) Cleanup(f func())       { t.cleanup = append(t.cleanup, f) }

func (t *demoTB) TempDir() string {
	dir, err := os.MkdirTemp("", "tokens")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (t *demoTB) stop() {
	for i := range t.cleanup {
		t.cleanup[len(t.cleanup)-1-i]()
	}
}
