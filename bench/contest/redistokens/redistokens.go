// Package redistokens is the store of the contestants on Redis: a JSON value for each token, and a channel that tells of
// renewals.
//
// Concurrency: one goroutine uses a Tokens; its DB may be used by any number.
package redistokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/freshetdev/freshet/bench/authd"
)

// Durability is what Redis is set to.
const Durability = "fsync every second"

// updated is the channel.
const updated = "token.updated"

// Token is the value.
type Token struct {
	Access  string    `json:"access"`
	Refresh string    `json:"refresh"`
	Expires time.Time `json:"expires"`
}

// Key is where an account's token is.
func Key(account string) string { return "token:" + account }

// Client returns a client with a connection for each of the hands.
func Client(addr string, atOnce int) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, PoolSize: atOnce})
}

// Store stores a token and tells.
func Store(ctx context.Context, c redis.Cmdable, account string, t Token) {
	data, err := json.Marshal(t)
	if err != nil {
		panic(fmt.Sprintf("encode token: %v", err)) // plain data: cannot fail
	}
	c.Set(ctx, Key(account), data, 0)
	c.Publish(ctx, updated, account)
}

// Tokens is the harness's side.
type Tokens struct {
	DB       *redis.Client
	Accounts []string

	sub     *redis.PubSub
	hearing sync.WaitGroup
}

// Open connects and subscribes.
func Open(ctx context.Context, addr string, heard func(account string)) (*Tokens, error) {
	t := &Tokens{DB: Client(addr, 64)}
	t.sub = t.DB.Subscribe(ctx, updated)
	if _, err := t.sub.Receive(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe: %w", err), t.DB.Close())
	}
	t.hearing.Go(func() {
		for {
			m, err := t.sub.ReceiveMessage(context.Background())
			if err != nil {
				return // closed
			}
			heard(m.Payload)
		}
	})
	return t, nil
}

// Load stores grants, and tells nobody.
func (t *Tokens) Load(ctx context.Context, grants []authd.Grant) error {
	const together = 1000
	pipe := t.DB.Pipeline()
	for i, g := range grants {
		data, err := json.Marshal(Token{g.AccessToken, g.RefreshToken, g.ExpiresAt})
		if err != nil {
			return err
		}
		pipe.Set(ctx, Key(g.Account), data, 0)
		t.Accounts = append(t.Accounts, g.Account)
		if (i+1)%together == 0 || i+1 == len(grants) {
			if _, err := pipe.Exec(ctx); err != nil {
				return fmt.Errorf("store tokens: %w", err)
			}
		}
	}
	return nil
}

// Held reads every token.
func (t *Tokens) Held(ctx context.Context) (map[string]string, error) {
	held := make(map[string]string)
	for _, account := range t.Accounts {
		data, err := t.DB.Get(ctx, Key(account)).Bytes()
		if err != nil {
			return nil, fmt.Errorf("read token of %s: %w", account, err)
		}
		var v Token
		if err := json.Unmarshal(data, &v); err != nil {
			return nil, err
		}
		held[account] = v.Refresh
	}
	return held, nil
}

// Close ends the subscription and the connections.
func (t *Tokens) Close() error {
	err := t.sub.Close()
	t.hearing.Wait()
	return errors.Join(err, t.DB.Close())
}
