package telemetry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Config says what a process shows. The zero value shows nothing.
type Config struct {
	// Listener serves /metrics, /livez and /readyz; without an Address nothing does.
	Listener listen.Listener
	// Token is what callers show (RFC 6750); empty: none is asked for, which needs loopback or Listener.ClientCAFile.
	Token seal.Secret
	// Service is the process's kind, such as "freshet-worker": the service.name of its spans, unless the environment says otherwise.
	Service string
	Version string
	// Getenv reads the OTEL_ variables. nil: there are none.
	Getenv func(string) string
	// TraceAccounts puts the account into spans.
	TraceAccounts bool
	Log           zerolog.Logger
	// Ready is told where the listener is once it takes connections. Optional.
	Ready func(address string)
}

// Validate reports everything that is wrong, by the names of the flags.
func (c Config) Validate() error {
	const prefix = "metrics-"
	if c.Listener.Address == "" {
		if c.Listener != (listen.Listener{}) || !c.Token.IsZero() {
			return errors.New("--metrics-listen: missing: nothing listens, whatever the other --metrics flags say")
		}
		return nil
	}
	faults := append(c.Listener.Check(prefix), c.Listener.CheckGuard(prefix, !c.Token.IsZero())...)
	return errors.Join(faults...)
}

const (
	// stopWithin bounds the end of a scrape that is under way.
	stopWithin = 2 * time.Second
	// flushWithin bounds the sending of the last spans.
	flushWithin = 5 * time.Second
	// writeWithin bounds an answer.
	writeWithin = 30 * time.Second
)

// Run runs work, and shows what it does until it has returned. From the end of ctx on the process is not ready any more. It fails
// before work begins when cfg or an OTEL_ variable is wrong, or the address cannot be listened on.
func Run(ctx context.Context, cfg Config, work func(ctx context.Context, t *Telemetry) error) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	t := New(cfg.Version)
	t.served = cfg.Listener.Address != ""
	stopTracing, err := t.trace(cfg)
	if err != nil {
		return err
	}
	defer stopTracing()
	stopServing, err := t.serve(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopServing()) }()
	defer context.AfterFunc(ctx, t.Health.drain)()
	return work(ctx, t)
}

// serve listens, where there is an address; stop ends that and waits.
func (t *Telemetry) serve(ctx context.Context, cfg Config) (stop func() error, err error) {
	if cfg.Listener.Address == "" {
		return func() error { return nil }, nil
	}
	l, err := cfg.Listener.Open(ctx, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("--metrics-listen: %w", err)
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx)) // it shows the draining, too
	ended := make(chan error, 1)
	go func() {
		ended <- listen.Serve(serving, l, listen.Server(t.Handler(cfg.Token), writeWithin), stopWithin)
	}()
	cfg.Log.Info().Stringer("listen", l.Addr()).Msg("metrics are served")
	if cfg.Ready != nil {
		cfg.Ready(l.Addr().String())
	}
	return func() error { end(); return <-ended }, nil
}
