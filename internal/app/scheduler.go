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
	"github.com/freshetdev/freshet/internal/telemetry"
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
	// OnReading hears that all records are about to be read, how many there are, OnRebuilt that they have been. Optional.
	OnReading, OnRebuilt func(credentials int)
	// Telemetry shows what it does. Optional.
	Telemetry *telemetry.Telemetry
}

// RunScheduler publishes jobs until ctx ends. It reads headers only and holds no key.
func RunScheduler(ctx context.Context, cfg SchedulerConfig) error {
	cfg.Name = cmp.Or(cfg.Name, "scheduler")
	log := Component(cfg.Log, "scheduler", cfg.Name)
	cfg.Telemetry = shown(cfg.Telemetry)
	begun, remove := cfg.Telemetry.Health.Starting()
	defer remove()
	defer ShowNATS(cfg.Telemetry, cfg.Conn)()
	b, err := openBroker(ctx, cfg.Conn, cfg.Broker, log)
	if err != nil {
		return stopped(ctx, err)
	}
	s, err := newScheduler(cfg, b, log)
	if err != nil {
		return err
	}
	defer ShowBroker(cfg.Telemetry, b)()
	lanes := &laneWatch{}
	defer showSchedule(cfg.Telemetry, s, lanes)()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.RunClock(ctx) })
	g.Go(func() error { return SayRefusals(ctx, cfg.Conn, log) })
	if cfg.Telemetry.Served() {
		g.Go(func() error { return lanes.run(ctx, b, s) })
	}
	g.Go(func() error {
		select {
		case <-b.ClockReady():
			begun()
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

// newScheduler puts a scheduler together.
func newScheduler(cfg SchedulerConfig, b *broker.Broker, log zerolog.Logger) (*schedule.Scheduler, error) {
	return schedule.New(schedule.Config{
		Records: b, Providers: b, Queue: cfg.Telemetry.Tracer.In(b.Names()).Queue(b), Now: b.Now,
		Teller: countingTeller{b.Publisher(), b.Now, cfg.Telemetry}, Source: "freshet/scheduler/" + cfg.Name,
		Observer: schedulerObserver(cfg, log),
	})
}

func schedulerObserver(cfg SchedulerConfig, log zerolog.Logger) schedule.Observer {
	quiet := &limiter{}
	return schedule.Observer{
		Published: func(key string, reason events.Reason) {
			cfg.Telemetry.Published(providerOf(key), reason)
			log.Debug().Str("key", key).Str("reason", string(reason)).Msg("job published")
			if cfg.OnPublished != nil {
				cfg.OnPublished(key, reason)
			}
		},
		Lag:     cfg.Telemetry.Lag,
		Reading: cfg.OnReading,
		Rebuilt: func(n int, took time.Duration) {
			cfg.Telemetry.Rebuilt(took)
			if cfg.OnRebuilt != nil {
				cfg.OnRebuilt(n)
			}
			log.Info().Int("credentials", n).Int64("took_ms", took.Milliseconds()).Msg("index is complete")
		},
		Error: func(err error) {
			cfg.Telemetry.ScheduleError()
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
