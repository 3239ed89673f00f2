// Package asynqjobs does the work with hibiken/asynq: a task for each credential that is due, with the account as its id so
// that there is one at most, and the tokens in the same Redis.
//
// Concurrency: one goroutine uses a Jobs, but Publish may be called by several.
package asynqjobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/contest/redistokens"
	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/bench/refresher"
)

// Name is also that of its child process.
const Name = "asynq"

const taskType = "refresh"

// Variant is what may differ.
type Variant struct {
	Name string
	// CheckInterval is how often an idle server looks for tasks; 0: asynq's default, a second.
	CheckInterval time.Duration
}

// config goes to the child.
type config struct {
	Redis, TokenURL string
	AtOnce          int
	CheckInterval   time.Duration
}

// Jobs is the contestant.
type Jobs struct {
	*redistokens.Tokens
	variant Variant
	client  *asynq.Client
	crew    *contest.Crew
	server  *host.Server
}

var _ contest.Contestant = (*Jobs)(nil)

// Start starts Redis and the worker.
func Start(ctx context.Context, env contest.Env, v Variant) (*Jobs, error) {
	server, err := host.StartRedis(ctx, env.Dir)
	if err != nil {
		return nil, err
	}
	j := &Jobs{variant: v, server: server}
	j.Tokens, err = redistokens.Open(ctx, server.Addr, env.Heard)
	if err != nil {
		return nil, errors.Join(err, server.Kill())
	}
	j.client = asynq.NewClientFromRedisClient(j.DB)
	cfg, err := json.Marshal(config{server.Addr, env.Auth.TokenURL(env.Endpoint), env.AtOnce, v.CheckInterval})
	if err == nil {
		j.crew, err = contest.StartCrew(env.Child(Name, string(cfg)))
	}
	return j, err
}

// Info implements contest.Contestant.
func (j *Jobs) Info() contest.Info {
	return contest.Info{Name: j.variant.Name, Durability: redistokens.Durability, Promise: "one task per credential, redelivered after a lease of 30 s"}
}

// filledAtOnce is how many tasks are enqueued at the same time.
const filledAtOnce = 64

// Fill enqueues a task for each account.
func (j *Jobs) Fill(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(filledAtOnce)
	for _, account := range j.Accounts {
		g.Go(func() error { return j.Publish(ctx, account) })
	}
	return g.Wait()
}

// Publish enqueues one.
func (j *Jobs) Publish(ctx context.Context, account string) error {
	_, err := j.client.EnqueueContext(ctx, asynq.NewTask(taskType, []byte(account)), asynq.TaskID(account), asynq.MaxRetry(5))
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil // it is queued already
	}
	return err
}

// Go starts the worker's server.
func (j *Jobs) Go(ctx context.Context) error { return j.crew.Go(ctx) }

// Halt shuts it down.
func (j *Jobs) Halt(ctx context.Context) error { return j.crew.Halt(ctx) }

// Self is the worker.
func (j *Jobs) Self() []int { return []int{j.crew.PID()} }

// Servers is Redis.
func (j *Jobs) Servers() []int { return []int{j.server.PID()} }

// Kill kills the worker.
func (j *Jobs) Kill() error { return j.crew.Kill() }

// Restart starts it again.
func (j *Jobs) Restart(ctx context.Context) error { return j.crew.Restart(ctx) }

// Close ends everything.
func (j *Jobs) Close() error {
	return errors.Join(j.crew.Kill(), j.Tokens.Close(), j.server.Kill())
}

// Child is what the worker's process does.
func Child(arg string, in io.Reader, out io.Writer) error {
	var cfg config
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	w := &worker{db: redistokens.Client(cfg.Redis, cfg.AtOnce), refresher: refresher.New(cfg.TokenURL, cfg.AtOnce)}
	defer func() { _ = w.db.Close() }() // the process ends
	return contest.Obey(in, out, func() (func(), error) {
		s := asynq.NewServer(asynq.RedisClientOpt{Addr: cfg.Redis, PoolSize: cfg.AtOnce + 8}, asynq.Config{
			Concurrency: cfg.AtOnce, TaskCheckInterval: cfg.CheckInterval, LogLevel: asynq.FatalLevel,
		})
		return s.Shutdown, s.Start(asynq.HandlerFunc(w.process))
	})
}

type worker struct {
	db        *redis.Client
	refresher *refresher.Refresher
}

// process renews one token.
func (w *worker) process(ctx context.Context, task *asynq.Task) error {
	account := string(task.Payload())
	data, err := w.db.Get(ctx, redistokens.Key(account)).Bytes()
	if err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	var t redistokens.Token
	if err := json.Unmarshal(data, &t); err != nil {
		return err
	}
	fresh, err := w.refresher.Refresh(t.Refresh)
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	pipe := w.db.Pipeline()
	redistokens.Store(ctx, pipe, account, redistokens.Token{Access: fresh.AccessToken, Refresh: fresh.RefreshToken, Expires: fresh.Expiry})
	_, err = pipe.Exec(ctx)
	return err
}
