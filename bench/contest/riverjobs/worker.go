package riverjobs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/refresher"
)

// mostConnections is more than two processors can use; a connection is not held during the request to the provider.
const mostConnections = 64

// Child is what the worker's process does.
func Child(arg string, in io.Reader, out io.Writer) error {
	var cfg config
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	poolConfig, err := pgxpool.ParseConfig(cfg.Postgres)
	if err != nil {
		return err
	}
	poolConfig.MaxConns = int32(min(cfg.AtOnce, mostConnections))
	db, err := pgxpool.NewWithConfig(context.Background(), poolConfig)
	if err != nil {
		return err
	}
	defer db.Close()
	w := &worker{db: db, refresher: refresher.New(cfg.TokenURL, cfg.AtOnce)}
	return contest.Obey(in, out, func() (func(), error) { return w.start(cfg) })
}

// worker implements river.Worker.
type worker struct {
	river.WorkerDefaults[args]

	db        *pgxpool.Pool
	refresher *refresher.Refresher
}

// start starts a client. River's do not start twice.
func (w *worker) start(cfg config) (stop func(), err error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	client, err := river.NewClient(riverpgxv5.New(w.db), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: cfg.AtOnce}}, Workers: workers, FetchCooldown: cfg.FetchCooldown,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return nil, err
	}
	stop = func() { _ = client.Stop(context.Background()) } // the context does not end
	return stop, client.Start(context.Background())
}

// Work renews one token.
func (w *worker) Work(ctx context.Context, job *river.Job[args]) error {
	account := job.Args.Account
	var held string
	if err := w.db.QueryRow(ctx, "SELECT refresh FROM tokens WHERE account = $1", account).Scan(&held); err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	fresh, err := w.refresher.Refresh(held)
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	return pgx.BeginFunc(ctx, w.db, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue("UPDATE tokens SET access = $2, refresh = $3, expires = $4 WHERE account = $1", account, fresh.AccessToken, fresh.RefreshToken, fresh.Expiry)
		batch.Queue("SELECT pg_notify($1, $2)", updated, account)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}
