package app

import (
	"cmp"
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/events"
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
	log := cfg.Log.With().Str("component", "scheduler").Str("scheduler", cfg.Name).Logger()
	b, err := openBroker(ctx, cfg.Conn, cfg.Broker, log)
	if err != nil {
		return stopped(ctx, err)
	}
	s, err := schedule.New(schedule.Config{
		Records: b, Providers: b, Queue: b, Now: b.Now, Teller: events.NewPublisher(b.JetStream(), b.Names()), Source: "freshet/scheduler/" + cfg.Name,
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
			log.Info().Int("credentials", n).Dur("took_ms", took).Msg("index is complete")
		},
		Error: func(err error) {
			if quiet.allow(err.Error(), quietFor, time.Now()) {
				log.Warn().Err(err).Msg("scheduling goes on")
			}
		},
	}
}
