package tokens_test

import (
	"context"
	"fmt"
	"net/http"
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

// A batch integration: it takes the tokens of all its accounts at once and works through them. What it read is forgotten
// with the results; nothing is kept fresh behind its back.
func ExampleClient_Get_batch() {
	nc, keyset, ids, stop := demoMany(10_000)
	defer stop()
	client, err := tokens.Open(context.Background(), nc, tokens.Config{AccessKeyset: keyset})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	results, err := client.Get(context.Background(), ids...)
	if err != nil {
		fmt.Println(err)
		return
	}
	ready := 0
	for _, r := range results {
		if r.Err == nil { // else r.Err says why, and the others go on
			ready++ // upload(r.Token.OAuth2(), …)
		}
	}
	fmt.Println(ready, "of", len(ids), "accounts have a token")
	// Output: 10000 of 10000 accounts have a token
}

// An API client that survives a token that was withdrawn early: it has the token renewed, once for all processes that use
// it, and sends the request again.
func ExampleClient_Transport() {
	nc, keyset, api, stop := demoRefused()
	defer stop()
	client, err := tokens.Open(context.Background(), nc, tokens.Config{AccessKeyset: keyset})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	httpClient := &http.Client{Transport: client.Transport("acme/alice", nil)}
	defer httpClient.CloseIdleConnections()
	resp, err := httpClient.Get(api)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// A program that hands a token on, to a file or to another program, and must know of each new one.
func ExampleClient_OnChange() {
	nc, keyset, stop := demo("alice")
	defer stop()
	client, err := tokens.Open(context.Background(), nc, tokens.Config{AccessKeyset: keyset})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	err = client.OnChange(ctx, "acme/alice", func(change tokens.Change) {
		if change.Err != nil {
			fmt.Println(change.Err) // withdrawn, say; or a person must log in again
			return
		}
		fmt.Println("version", change.Token.Version, change.Token.OAuth2().AccessToken)
		cancel() // seen enough
	})
	fmt.Println("ended:", err)
	// Output:
	// version 1 access-alice
	// ended: <nil>
}

// demo is a server with a token for each account.
func demo(accounts ...string) (nc *nats.Conn, access *seal.Keyset, stop func()) {
	b, nc, stop := demoBucket()
	for _, account := range accounts {
		b.put(record(account), "access-"+account)
	}
	return nc, b.keys.Access, stop
}

// demoMany is a server with a token for each of n accounts.
func demoMany(n int) (nc *nats.Conn, access *seal.Keyset, ids []string, stop func()) {
	b, nc, stop := demoBucket()
	ids = b.putMany(n, func(i int) string { return fmt.Sprint("user-", i) })
	return nc, b.keys.Access, ids, stop
}

// demoRefused is a server with alice's token, which the API does not take any more, and somebody who renews it.
func demoRefused() (nc *nats.Conn, access *seal.Keyset, api string, stop func()) {
	b, nc, stop := demoBucket()
	r := record("alice")
	b.put(r, "access-1")
	b.newLane("").work(r)
	res := newResource(b.t, "access-2")
	return nc, b.keys.Access, res.URL, stop
}

func demoBucket() (b *bucket, nc *nats.Conn, stop func()) {
	t := &demoTB{}
	s := startServer(t)
	return newBucket(t, s.connect(t), events.Names{}), s.connect(t), t.stop
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
