// Package riverjobs does the work with riverqueue/river: a job for each credential that is due, unique by its account, and the
// tokens in the same PostgreSQL. The new token, the notification and the job's completion are one transaction.
//
// Concurrency: one goroutine uses a Jobs, but Publish may be called by several.
package riverjobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"encoding/json"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/host"
)

// Name is also that of its child process.
const Name = "river"

// updated is the channel of NOTIFY.
const updated = "token_updated"

// Variant is what may differ.
type Variant struct {
	Name string
	// FetchCooldown is the least time between two fetches of jobs; 0: river's default, 100 ms.
	FetchCooldown time.Duration
}

// config goes to the child.
type config struct {
	Postgres, TokenURL string
	AtOnce             int
	FetchCooldown      time.Duration
}

// args are a job's.
type args struct {
	Account string `json:"account" river:"unique"`
}

// Kind implements river.JobArgs.
func (args) Kind() string { return "refresh" }

// InsertOpts implements river.JobArgsWithInsertOpts: one job per account that is not done.
func (args) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
}

// Jobs is the contestant.
type Jobs struct {
	variant  Variant
	db       *pgxpool.Pool
	client   *river.Client[pgx.Tx]
	crew     *contest.Crew
	server   *host.Server
	accounts []string
	cancel   context.CancelFunc
	hearing  sync.WaitGroup
}

var _ contest.Contestant = (*Jobs)(nil)

// Start starts PostgreSQL and the worker.
func Start(ctx context.Context, env contest.Env, v Variant) (*Jobs, error) {
	server, err := host.StartPostgres(ctx, env.Dir)
	if err != nil {
		return nil, err
	}
	j := &Jobs{variant: v, server: server}
	url := "postgres://bench@" + server.Addr + "/postgres?sslmode=disable"
	if err := j.open(ctx, url, env.Heard); err != nil {
		return nil, errors.Join(err, server.Kill())
	}
	cfg, err := json.Marshal(config{url, env.Auth.TokenURL(env.Endpoint), env.AtOnce, v.FetchCooldown})
	if err == nil {
		j.crew, err = contest.StartCrew(env.Child(Name, string(cfg)))
	}
	return j, err
}

func (j *Jobs) open(ctx context.Context, url string, heard func(string)) (err error) {
	if j.db, err = pgxpool.New(ctx, url); err != nil {
		return err
	}
	if _, err = j.db.Exec(ctx, `CREATE TABLE tokens (account text PRIMARY KEY, access text, refresh text, expires timestamptz)`); err != nil {
		return fmt.Errorf("make table: %w", err)
	}
	driver := riverpgxv5.New(j.db)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	if _, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("make river's tables: %w", err)
	}
	if j.client, err = river.NewClient(driver, &river.Config{}); err != nil {
		return err
	}
	return j.listen(ctx, url, heard)
}

func (j *Jobs) listen(ctx context.Context, url string, heard func(string)) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+updated); err != nil {
		return err
	}
	ctx, j.cancel = context.WithCancel(context.Background())
	j.hearing.Go(func() {
		defer func() { _ = conn.Close(context.Background()) }() // nobody hears any more
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				return // closed
			}
			heard(n.Payload)
		}
	})
	return nil
}

// Info implements contest.Contestant.
func (j *Jobs) Info() contest.Info {
	return contest.Info{Name: j.variant.Name, Durability: "fsync on every commit", Promise: "one job per credential; result and job in one transaction"}
}

// Load stores grants.
func (j *Jobs) Load(ctx context.Context, grants []authd.Grant) error {
	rows := make([][]any, len(grants))
	for i, g := range grants {
		rows[i] = []any{g.Account, g.AccessToken, g.RefreshToken, g.ExpiresAt}
		j.accounts = append(j.accounts, g.Account)
	}
	_, err := j.db.CopyFrom(ctx, pgx.Identifier{"tokens"}, []string{"account", "access", "refresh", "expires"}, pgx.CopyFromRows(rows))
	return err
}

// Fill inserts a job for each account, and lets PostgreSQL look at its tables, which it would do by itself in time.
func (j *Jobs) Fill(ctx context.Context) error {
	const together = 1000
	params := make([]river.InsertManyParams, 0, together)
	for i, account := range j.accounts {
		params = append(params, river.InsertManyParams{Args: args{Account: account}})
		if len(params) == together || i+1 == len(j.accounts) {
			if _, err := j.client.InsertMany(ctx, params); err != nil {
				return fmt.Errorf("insert jobs: %w", err)
			}
			params = params[:0]
		}
	}
	_, err := j.db.Exec(ctx, "VACUUM ANALYZE")
	return err
}

// Publish inserts one.
func (j *Jobs) Publish(ctx context.Context, account string) error {
	_, err := j.client.Insert(ctx, args{Account: account}, nil)
	return err
}

// Go starts the worker's client.
func (j *Jobs) Go(ctx context.Context) error { return j.crew.Go(ctx) }

// Halt stops it.
func (j *Jobs) Halt(ctx context.Context) error { return j.crew.Halt(ctx) }

// Held reads every token.
func (j *Jobs) Held(ctx context.Context) (map[string]string, error) {
	rows, err := j.db.Query(ctx, "SELECT account, refresh FROM tokens")
	if err != nil {
		return nil, err
	}
	held := make(map[string]string)
	var account, refresh string
	_, err = pgx.ForEachRow(rows, []any{&account, &refresh}, func() error {
		held[account] = refresh
		return nil
	})
	return held, err
}

// Self is the worker.
func (j *Jobs) Self() []int { return []int{j.crew.PID()} }

// Servers is PostgreSQL.
func (j *Jobs) Servers() []int { return []int{j.server.PID()} }

// Kill kills the worker.
func (j *Jobs) Kill() error { return j.crew.Kill() }

// Restart starts it again.
func (j *Jobs) Restart(ctx context.Context) error { return j.crew.Restart(ctx) }

// Close ends everything.
func (j *Jobs) Close() error {
	err := j.crew.Kill()
	j.cancel()
	j.hearing.Wait()
	j.db.Close()
	return errors.Join(err, j.server.Kill())
}
