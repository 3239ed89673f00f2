package app

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// SchedulerConfig describes a scheduler. Conn is required.
type SchedulerConfig struct {
	Name   string // default "scheduler"
	Conn   *nats.Conn
	Broker broker.Config
	Log    zerolog.Logger
	// OnPublished hears of each job published. Optional.
	OnPublished func(key string, reason events.Reason)
}

// RunScheduler publishes jobs until ctx ends. It reads headers only and holds no key.
func RunScheduler(ctx context.Context, cfg SchedulerConfig) error {
	cfg.Name = cmp.Or(cfg.Name, "scheduler")
	log := Component(cfg.Log, "scheduler", cfg.Name)
	b, err := openBroker(ctx, cfg.Conn, cfg.Broker, log)
	if err != nil {
		return stopped(ctx, err)
	}
	s, err := schedule.New(schedule.Config{
		Records: b, Providers: b, Queue: b, Now: b.Now, Teller: b.Publisher(), Source: "freshet/scheduler/" + cfg.Name,
		Observer: schedulerObserver(cfg, log),
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.RunClock(ctx) })
	g.Go(func() error {
		select {
		case <-b.ClockReady():
			return s.Run(ctx)
		case <-ctx.Done():
			return nil
		}
	})
	log.Info().Str("nats", cfg.Conn.ConnectedServerVersion()).Msg("scheduler started")
	err = stopped(ctx, g.Wait())
	log.Info().Msg("scheduler stopped")
	return err
}

func schedulerObserver(cfg SchedulerConfig, log zerolog.Logger) schedule.Observer {
	quiet := &limiter{}
	return schedule.Observer{
		Published: func(key string, reason events.Reason) {
			log.Debug().Str("key", key).Str("reason", string(reason)).Msg("job published")
			if cfg.OnPublished != nil {
				cfg.OnPublished(key, reason)
			}
		},
		Rebuilt: func(n int, took time.Duration) {
			log.Info().Int("credentials", n).Int64("took_ms", took.Milliseconds()).Msg("index is complete")
		},
		Error: func(err error) {
			what, said := trouble(err)
			switch {
			case said && !cfg.Conn.IsConnected():
				log.Debug().Err(err).Msg(what)
			case quiet.allow(err.Error(), quietFor, time.Now()):
				log.Warn().Err(err).Msg(what)
			}
		},
	}
}

// trouble says in words what an error of the scheduler's means and what to do. said is true for what only follows
// from a lost connection, of which ConnectOptions speaks.
func trouble(err error) (what string, said bool) {
	switch {
	case errors.Is(err, broker.ErrPermission):
		return "the NATS user of this scheduler may not do what it must: compare its permissions with the file in deploy/nats", false
	case errors.Is(err, broker.ErrNotSetUp):
		return "a stream or bucket is missing, nothing of it is scheduled: run freshet setup", false
	case errors.Is(err, broker.ErrUnknownProvider):
		return "credentials of a provider that nobody has applied are due, and wait: run freshet apply", false
	case errors.Is(err, broker.ErrNoLane):
		return "a provider has no lane, its credentials wait: run freshet setup or freshet apply", false
	case errors.Is(err, provider.ErrMalformed):
		return "a provider's definition cannot be used, its credentials wait: apply it again", false
	case errors.Is(err, broker.ErrWatchLost), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return "NATS does not answer as it should, tried again until it does: see to its servers if this lasts", true
	}
	return "something is wrong that the error names; everything else is scheduled", false
}
