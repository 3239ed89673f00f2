package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/broker"
)

// ConnectOptions are how a process that stays connects: it waits for an absent NATS, comes back after a loss, never
// lets a publish land after its author gave up, and says each loss and each return once. Of the first connection, and of
// the wait for it, it says nothing: waitConnected does.
func ConnectOptions(log zerolog.Logger) []nats.Option {
	var known, away atomic.Bool
	return broker.ConnectOptions(broker.ConnectHooks{
		Disconnected: func(err error) {
			if known.Load() && away.CompareAndSwap(false, true) {
				log.Warn().AnErr("error", err).Msg("NATS is gone: no refresh starts until it is back")
			}
		},
		Reconnected: func(string) {
			known.Store(true)
			if away.CompareAndSwap(true, false) {
				log.Info().Msg("NATS is back")
			}
		},
		Error: func(err error) { log.Debug().Err(err).Msg("NATS") },
	})
}

// connectPoll is how often a start without NATS looks again.
const connectPoll = 100 * time.Millisecond

// waitConnected returns once nc is connected, and says once that it waits.
func waitConnected(ctx context.Context, nc *nats.Conn, log zerolog.Logger) error {
	said := false
	tick := time.NewTicker(connectPoll)
	defer tick.Stop()
	for !nc.IsConnected() {
		if !said {
			log.Warn().AnErr("error", nc.LastError()).Msg("waiting for NATS")
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	if said {
		log.Info().Str("server", nc.ConnectedServerVersion()).Msg("NATS is here")
	}
	return nil
}
