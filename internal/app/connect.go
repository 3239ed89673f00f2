package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/broker"
)

// Component makes a process's log: each line says what kind of process it is and which one.
func Component(log zerolog.Logger, kind, name string) zerolog.Logger {
	return log.With().Str("component", kind).Str(kind, name).Logger()
}

// ConnectOptions are how a process that stays connects: it waits for an absent NATS, comes back after a loss, never
// lets a publish land after its author gave up, and says each loss and each return once, and once a minute that the loss
// lasts. A connection that others can read is said once.
func ConnectOptions(log zerolog.Logger) []nats.Option {
	l := &link{log: log}
	return append(broker.ConnectOptions(broker.ConnectHooks{
		Disconnected: l.disconnected, Reconnected: l.connected, Error: l.failed,
		Unencrypted: func(warning string) { log.Warn().Msg(warning) },
	}), l.capture)
}

// link says what happens to a connection. Its methods are called one at a time, but for capture, which comes before.
type link struct {
	log     zerolog.Logger
	servers string // where NATS is looked for
	quiet   limiter

	mu     sync.Mutex
	server string // where it was found, last
	away   bool   // and it is said
}

// capture is an option that only looks.
func (l *link) capture(o *nats.Options) error {
	servers := o.Servers
	if len(servers) == 0 {
		servers = []string{o.Url}
	}
	l.servers = cmp.Or(withoutUsers(servers), "in this process")
	return nil
}

// withoutUsers lists addresses without users and passwords.
func withoutUsers(servers []string) string {
	var plain []string
	for _, s := range servers {
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			plain = append(plain, u.Scheme+"://"+u.Host)
		}
	}
	return strings.Join(plain, ",")
}

func (l *link) disconnected(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.away:
		l.lasts(err)
	case l.server == "" && errors.Is(err, nats.ErrNoServers):
		// The next attempt says why.
	case l.server == "":
		l.leave(l.log.Warn().Str("servers", l.servers), err, "waiting for NATS: nothing is done until it is there")
	default:
		l.leave(l.log.Warn().Str("server", l.server), err, "NATS is gone: no refresh starts until it is back")
	}
}

func (l *link) leave(ev *zerolog.Event, err error, text string) {
	ev.AnErr("error", err).Msg(text)
	l.away = true
	l.quiet.allow("away", quietAway, time.Now())
}

// quietAway is how long nothing is said of a NATS that is still away.
const quietAway = time.Minute

// lasts says now and then that NATS is still away. l.mu is held.
func (l *link) lasts(err error) {
	if l.quiet.allow("away", quietAway, time.Now()) {
		l.log.Warn().Str("servers", l.servers).AnErr("error", err).
			Msg("NATS is still away: see whether it runs there, and whether it takes this user and certificate")
	}
}

func (l *link) connected(server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	here := withoutUsers([]string{server})
	switch {
	case l.away && l.server == "":
		l.log.Info().Str("server", here).Msg("NATS is here")
	case l.away:
		l.log.Info().Str("server", here).Msg("NATS is back")
	}
	l.server, l.away = here, false
}

func (l *link) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		l.lasts(err) // such as refused credentials
		return
	}
	l.log.Debug().Err(err).Msg("NATS")
}

// connectPoll is how often a start without NATS looks again.
const connectPoll = 100 * time.Millisecond

// waitConnected returns once nc is connected. ConnectOptions has said that it is not; what a server answers to
// the attempts since is said here, because nobody else hears of it before the first connection.
func waitConnected(ctx context.Context, nc *nats.Conn, log zerolog.Logger) error {
	var quiet limiter
	tick := time.NewTicker(connectPoll)
	defer tick.Stop()
	for !nc.IsConnected() {
		if err := nc.LastError(); err != nil && quiet.allow("away", quietAway, time.Now()) {
			log.Warn().Str("servers", withoutUsers(nc.Servers())).Err(broker.Advised(err)).Msg("NATS refuses this process: see to its user and certificate")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// SayRefusals says, until ctx ends, why NATS does not take a process back that was connected, where that comes from TLS: a certificate
// that has ended, say. The client library tells nobody of it.
func SayRefusals(ctx context.Context, nc *nats.Conn, log zerolog.Logger) error {
	var quiet limiter
	again := nc.StatusChanged(nats.RECONNECTING) // also after each attempt that fails
	defer nc.RemoveStatusListener(again)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		}
		err := nc.LastError()
		if err == io.EOF { //nolint:errorlint // how a connection ends that was good
			continue
		}
		if advised := broker.Advised(err); advised != err && quiet.allow("refused", quietAway, time.Now()) { //nolint:errorlint // whether there is advice
			log.Warn().Str("servers", withoutUsers(nc.Servers())).Err(advised).Msg("NATS does not take this process back")
		}
	}
}

// measureWithin bounds the one measurement of a command, which does not wait long for it.
const measureWithin = 2 * time.Second

// MeasureClock measures NATS time once, so that a command stamps what it writes with that and not with its own clock.
func MeasureClock(ctx context.Context, b *broker.Broker) error {
	timed, stop := context.WithTimeout(ctx, measureWithin)
	ended := make(chan error, 1)
	go func() { ended <- b.RunClock(timed) }()
	defer func() { stop(); <-ended }()
	select {
	case <-b.ClockReady():
		return nil
	case <-timed.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("NATS time cannot be measured: see that this NATS user may ask for STREAM.INFO of the records")
	}
}
