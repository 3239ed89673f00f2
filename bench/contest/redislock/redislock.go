// Package redislock is what people write today: a cron job looks for tokens that are due, and for each takes a lock in Redis
// (SET NX PX, released by a script that compares and deletes), refreshes with golang.org/x/oauth2, stores the result and
// publishes. The commands that need no answer in between go in one pipeline.
//
// Concurrency: one goroutine uses a RedisLock, but Publish may be called by several.
package redislock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/contest/redistokens"
	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/bench/refresher"
)

// Name is also that of its child process.
const Name = "redis-lock"

const (
	due     = "due" // a sorted set of accounts by when they are due
	lockTTL = 10 * time.Second
	tick    = time.Second // of the cron job
)

// unlock releases a lock that is still ours.
var unlock = redis.NewScript(`if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) end return 0`)

// config goes to the child.
type config struct {
	Redis, TokenURL string
	AtOnce          int
}

// RedisLock is the contestant.
type RedisLock struct {
	*redistokens.Tokens
	crew   *contest.Crew
	server *host.Server
}

var _ contest.Contestant = (*RedisLock)(nil)

// Start starts Redis and the worker.
func Start(ctx context.Context, env contest.Env) (*RedisLock, error) {
	server, err := host.StartRedis(ctx, env.Dir)
	if err != nil {
		return nil, err
	}
	r := &RedisLock{server: server}
	r.Tokens, err = redistokens.Open(ctx, server.Addr, env.Heard)
	if err != nil {
		return nil, errors.Join(err, server.Kill())
	}
	cfg, err := json.Marshal(config{server.Addr, env.Auth.TokenURL(env.Endpoint), env.AtOnce})
	if err == nil {
		r.crew, err = contest.StartCrew(env.Child(Name, string(cfg)))
	}
	return r, err
}

// Info implements contest.Contestant.
func (r *RedisLock) Info() contest.Info {
	return contest.Info{Name: Name, Durability: redistokens.Durability, Promise: "lock of 10 s, no fence, no journal"}
}

// Fill makes everything due now.
func (r *RedisLock) Fill(ctx context.Context) error {
	now := float64(time.Now().Unix())
	const most = 10_000 // in one command
	members := make([]redis.Z, 0, most)
	flush := func() error {
		err := r.DB.ZAdd(ctx, due, members...).Err()
		members = members[:0]
		return err
	}
	for _, account := range r.Accounts {
		if members = append(members, redis.Z{Score: now, Member: account}); len(members) == most {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(members) == 0 {
		return nil
	}
	return flush()
}

// Go begins the worker's ticks, the first at once.
func (r *RedisLock) Go(ctx context.Context) error { return r.crew.Go(ctx) }

// Halt ends them.
func (r *RedisLock) Halt(ctx context.Context) error { return r.crew.Halt(ctx) }

// Publish makes one due.
func (r *RedisLock) Publish(ctx context.Context, account string) error {
	return r.DB.ZAdd(ctx, due, redis.Z{Score: float64(time.Now().Unix()), Member: account}).Err()
}

// Self is the worker.
func (r *RedisLock) Self() []int { return []int{r.crew.PID()} }

// Servers is Redis.
func (r *RedisLock) Servers() []int { return []int{r.server.PID()} }

// Kill kills the worker.
func (r *RedisLock) Kill() error { return r.crew.Kill() }

// Restart starts it again.
func (r *RedisLock) Restart(ctx context.Context) error { return r.crew.Restart(ctx) }

// Close ends everything.
func (r *RedisLock) Close() error {
	return errors.Join(r.crew.Kill(), r.Tokens.Close(), r.server.Kill())
}

// Child is what the worker's process does.
func Child(arg string, in io.Reader, out io.Writer) error {
	var cfg config
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	w := &worker{db: redistokens.Client(cfg.Redis, cfg.AtOnce), refresher: refresher.New(cfg.TokenURL, cfg.AtOnce), atOnce: cfg.AtOnce}
	defer func() { _ = w.db.Close() }() // the process ends
	return contest.Obey(in, out, func() (func(), error) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.run(ctx)
		}()
		return func() { cancel(); <-done }, nil
	})
}

type worker struct {
	db        *redis.Client
	refresher *refresher.Refresher
	atOnce    int
}

// run looks for what is due, every second, until ctx ends.
func (w *worker) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for ctx.Err() == nil {
		w.refreshDue(ctx)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// refreshDue refreshes everything that is due now.
func (w *worker) refreshDue(ctx context.Context) {
	accounts, err := w.db.ZRangeArgs(ctx, redis.ZRangeArgs{Key: due, ByScore: true, Start: "-inf", Stop: time.Now().Unix()}).Result()
	if err != nil {
		return // the next tick tries again
	}
	next := make(chan string)
	var hands sync.WaitGroup
	for range min(w.atOnce, len(accounts)) {
		hands.Go(func() {
			for account := range next {
				w.refresh(account)
			}
		})
	}
	for _, account := range accounts {
		if ctx.Err() != nil {
			break
		}
		next <- account
	}
	close(next)
	hands.Wait()
}

// refresh renews one token. Whatever goes wrong, the next tick finds it due again.
func (w *worker) refresh(account string) {
	ctx := context.Background()
	lock, owner := "lock:"+account, fmt.Sprint(time.Now().UnixNano())
	pipe := w.db.Pipeline()
	locked := pipe.SetNX(ctx, lock, owner, lockTTL)
	value := pipe.Get(ctx, redistokens.Key(account))
	if _, err := pipe.Exec(ctx); err != nil || !locked.Val() {
		return
	}
	var t redistokens.Token
	if json.Unmarshal([]byte(value.Val()), &t) != nil {
		return
	}
	fresh, err := w.refresher.Refresh(t.Refresh)
	if err != nil {
		_ = unlock.Run(ctx, w.db, []string{lock}, owner).Err() // it ends by itself
		return
	}
	pipe = w.db.Pipeline()
	redistokens.Store(ctx, pipe, account, redistokens.Token{Access: fresh.AccessToken, Refresh: fresh.RefreshToken, Expires: fresh.Expiry})
	pipe.ZAdd(ctx, due, redis.Z{Score: float64(fresh.Expiry.Add(-10 * time.Minute).Unix()), Member: account})
	unlock.EvalSha(ctx, pipe, []string{lock}, owner)
	if _, err := pipe.Exec(ctx); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		_ = unlock.Run(ctx, w.db, []string{lock}, owner).Err() // it ends by itself
	}
}
