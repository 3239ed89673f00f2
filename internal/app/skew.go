package app

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// maxSkew is how far two clocks may be apart before a person should know.
const maxSkew = 30 * time.Second

// warnSkew says, once an hour for each provider, that its clock and ours are apart. Lifetimes count from the start of the
// request, so that nothing depends on it; but whoever is wrong will have trouble with certificates and assertions.
func (w *Worker) warnSkew(res refresh.Result) {
	if res.ClockSkew.Abs() <= maxSkew || !w.quiet.allow("clock of "+res.Credential.Provider, quietAbout, time.Now()) {
		return
	}
	w.log.Warn().Str("provider", res.Credential.Provider).Dur("ahead_ms", res.ClockSkew).
		Msg("the provider's clock and this machine's are apart: check this machine's time synchronisation")
}

// warnOffset says once an hour that NATS time and this machine's clock are apart, or that NATS time cannot be had. Claims are
// judged by NATS time alone.
func warnOffset(log zerolog.Logger, b *broker.Broker, quiet *limiter) {
	if err := b.ClockFault(); err != nil && b.Conn().IsConnected() && quiet.allow("NATS time", quietAbout, time.Now()) {
		log.Warn().Err(err).Msg("NATS time is not known any more: this machine's clock goes on from the last time it was")
	}
	offset := b.Offset()
	if offset.Abs() <= maxSkew || !quiet.allow("clock of NATS", quietAbout, time.Now()) {
		return
	}
	log.Warn().Dur("ahead_ms", offset).
		Msg("the clock of the NATS server and this machine's are apart: check the time synchronisation of both; NATS time is used")
}
