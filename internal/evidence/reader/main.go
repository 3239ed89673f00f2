// The reader is a program as its users write them: it takes access tokens from pkg/tokens and presents them to a protected
// resource. The experiments start and kill it. Ten times a second it prints what it has done so far, as a line of JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		os.Exit(1)
	}
}

type config struct {
	keyset, resource, provider, inbox string
	accounts, rate                    int
}

func parse() (c config) {
	flag.StringVar(&c.keyset, "access-keyset", "", "`file` with the access keyset")
	flag.StringVar(&c.resource, "resource", "", "`URL` of the protected resource")
	flag.StringVar(&c.provider, "provider", "", "whose tokens; the accounts are user-0 and so on")
	flag.StringVar(&c.inbox, "inbox-prefix", nats.InboxPrefix[:len(nats.InboxPrefix)-1], "prefix of the inboxes")
	flag.IntVar(&c.accounts, "accounts", 1, "how many accounts there are")
	flag.IntVar(&c.rate, "rate", 10, "requests per second")
	flag.Parse()
	return c
}

func run(ctx context.Context) error {
	cfg := parse()
	data, err := os.ReadFile(cfg.keyset)
	if err != nil {
		return err
	}
	keyset, err := seal.LoadKeyset(data)
	if err != nil {
		return err
	}
	nc, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer nc.Close()
	client, err := tokens.Open(ctx, nc, tokens.Config{AccessKeyset: keyset})
	if err != nil {
		return err
	}
	defer client.Close()
	u := &user{cfg: cfg, client: client, http: &http.Client{Timeout: 10 * time.Second}}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { u.tell(ctx) })
	u.use(ctx)
	return nil
}

// connect waits for NATS.
func connect(ctx context.Context, cfg config) (*nats.Conn, error) {
	nc, err := nats.Connect(os.Getenv("NATS_URL"),
		nats.UserInfo(os.Getenv("NATS_USER"), os.Getenv("NATS_PASSWORD")), nats.CustomInboxPrefix(cfg.inbox),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	for tick := time.Tick(10 * time.Millisecond); err == nil && !nc.IsConnected(); {
		select {
		case <-tick:
		case <-ctx.Done():
			nc.Close()
			return nil, ctx.Err()
		}
	}
	return nc, err
}

// user uses tokens and counts.
type user struct {
	cfg    config
	client *tokens.Client
	http   *http.Client

	used    atomic.Int64 // the resource was glad
	refused atomic.Int64 // the resource did not take the token
	none    atomic.Int64 // there was no token to use
	failed  atomic.Int64 // the resource did not answer
}

// use presents tokens of accounts at random, at the rate, until ctx ends.
func (u *user) use(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for tick := time.Tick(time.Second / time.Duration(u.cfg.rate)); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			src := u.client.TokenSource(fmt.Sprintf("%s/user-%d", u.cfg.provider, rand.N(u.cfg.accounts)))
			wg.Go(func() { u.once(ctx, src) })
		}
	}
}

func (u *user) once(ctx context.Context, src oauth2.TokenSource) {
	token, err := src.Token()
	if err != nil {
		u.none.Add(1)
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.cfg.resource, nil)
	if err != nil {
		u.failed.Add(1)
		return
	}
	token.SetAuthHeader(req)
	resp, err := u.http.Do(req)
	if err != nil {
		u.failed.Add(1)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		u.used.Add(1)
	case http.StatusUnauthorized:
		u.refused.Add(1)
	default:
		u.failed.Add(1)
	}
}

// tell prints the counts ten times a second, and at the end.
func (u *user) tell(ctx context.Context) {
	for tick := time.Tick(time.Second / 10); ; {
		select {
		case <-tick:
		case <-ctx.Done():
		}
		_ = json.NewEncoder(os.Stdout).Encode(map[string]int64{
			"used": u.used.Load(), "refused": u.refused.Load(), "none": u.none.Load(), "failed": u.failed.Load(),
		})
		if ctx.Err() != nil {
			return
		}
	}
}
