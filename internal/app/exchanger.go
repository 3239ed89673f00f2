package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// ExchangerConfig describes an exchanger. Listen, StateDir and Grant are required.
type ExchangerConfig struct {
	Listen   string // unix://PATH
	StateDir string
	Grant    *seal.Keyset
	Names    events.Names // of the namespace that its workers use
	Log      zerolog.Logger
	// Dial replaces the network below the token requests. Optional.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Telemetry shows what it does. Optional.
	Telemetry *telemetry.Telemetry
}

// RunExchanger makes the token requests of the workers that connect, until ctx ends. Then it takes no new ones, finishes
// what is in flight, and says what no worker has fetched yet.
func RunExchanger(ctx context.Context, cfg ExchangerConfig) error {
	log := cfg.Log.With().Str("component", "exchanger").Logger()
	socket, err := exchanger.ParseAddress(cfg.Listen)
	if err != nil {
		return err
	}
	web := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: cfg.Dial})
	defer web.CloseIdle()
	s, err := exchanger.Open(ctx, exchanger.Config{
		Socket: socket, StateDir: cfg.StateDir, Exchange: web,
		Keys:    refresh.Keys{Bucket: cfg.Names.TokensBucket(), Grant: cfg.Grant},
		OnError: func(err error) { log.Error().Err(err).Msg("exchanger: free the disk, or fix the state directory") },
	})
	if err != nil {
		return err
	}
	t := shown(cfg.Telemetry)
	defer t.Show(telemetry.Source{Held: s.Held, InFlight: s.InFlight})()
	defer t.Health.Check("journal", s.Writable)()
	stop := context.AfterFunc(ctx, func() {
		log.Info().Int("in_flight", s.InFlight()).Msg("exchanger stops: it finishes what is in flight")
	})
	defer stop()
	log.Info().Str("listen", cfg.Listen).Int("held", s.Held()).Msg("exchanger started")
	err = s.Run(ctx)
	if left := s.Held(); left > 0 {
		log.Warn().Int("outcomes", left).Str("dir", cfg.StateDir).
			Msg("stopped with outcomes that no worker has fetched: start an exchanger with this state directory soon")
	} else {
		log.Info().Msg("exchanger stopped, nothing held")
	}
	return err
}

// connectExchanger makes the worker use an exchanger where one is configured.
func (w *Worker) connectExchanger() error {
	if w.cfg.Exchanger == "" {
		return nil
	}
	socket, err := exchanger.ParseAddress(w.cfg.Exchanger)
	if err != nil {
		return err
	}
	w.collected = make(chan struct{}, 1)
	w.exchanger = exchanger.NewClient(exchanger.ClientConfig{
		Socket: socket, OnReach: w.exchangerReached,
		Keys: refresh.Keys{Bucket: w.broker.Names().TokensBucket(), Grant: w.cfg.Grant},
	})
	return nil
}

func (w *Worker) exchangerReached(err error) {
	if err != nil {
		w.log.Error().Err(err).Str("exchanger", w.cfg.Exchanger).Msg("no attempt starts until the exchanger is there: start it")
		return
	}
	w.log.Info().Str("exchanger", w.cfg.Exchanger).Msg("exchanger reached")
}

// restartWithin is how long a job waits for an exchanger that is being restarted, or for a recheck, before this worker leaves the lane. It is
// well below the shortest AckWait, 7 s.
const restartWithin = 2 * time.Second

// presenter is what makes the requests, ready what must hold before a claim, and outcomes where they are kept.
func (w *Worker) presenter() (p refresh.Exchanger, ready func() error, outcomes refresh.Journal) {
	kept := journalAdapter{w.journal}
	ready = func() error { return cmp.Or(w.journal.Writable(), w.recheck.await(w.broker.Epoch, restartWithin)) }
	if w.exchanger == nil {
		return w.exchange, ready, kept
	}
	own := ready
	ready = func() error { return errors.Join(own(), w.exchanger.AwaitReady(restartWithin)) }
	return w.exchanger, ready, acknowledgingJournal{kept, w.exchanger}
}

// runExchanger collects what the exchanger holds for workers that died.
func (w *Worker) runExchanger(ctx context.Context) error {
	if w.exchanger == nil {
		return nil
	}
	return w.exchanger.Run(ctx, w.takeOver)
}

// drainExchanger collects what is complete before this worker takes jobs. Whether that went well is said, and decided for
// each attempt, elsewhere.
func (w *Worker) drainExchanger(ctx context.Context) {
	if w.exchanger != nil {
		_ = w.exchanger.Drain(ctx, w.takeOver)
	}
}

// recall looks for the outcome of an attempt in doubt: in the journal, and where the exchanger has it. A worker that takes
// jobs may not have collected everything yet.
func (w *Worker) recall(ctx context.Context, attempt string) (e refresh.Entry, found bool, err error) {
	if err := w.recheck.await(w.broker.Epoch, restartWithin); err != nil {
		return e, false, err // the store may have lost what the journal still keeps
	}
	for _, p := range w.journal.Pending() {
		if p.ID == attempt {
			return refresh.Entry{ID: p.ID, Key: p.Key, Data: p.Data, Revision: p.Revision}, true, nil
		}
	}
	if w.exchanger == nil {
		return e, false, nil
	}
	if err := w.exchanger.AwaitReady(restartWithin); err != nil {
		return e, false, err
	}
	return w.exchanger.Find(ctx, attempt, w.takeOver)
}

// takeOver journals a collected outcome; recoverJournal commits it. One that says nothing does not replace what the
// journal has of the same attempt.
func (w *Worker) takeOver(e refresh.Entry, phase refresh.Phase) error {
	if phase != refresh.PhaseAnswered && w.journal.Has(e.ID) {
		return nil
	}
	if err := (journalAdapter{w.journal}).Append(e); err != nil {
		return fmt.Errorf("keep an outcome that the exchanger held: %w", err)
	}
	w.log.Info().Str("attempt", e.ID).Str("key", e.Key).Str("phase", string(phase)).Msg("took over an outcome that the exchanger held")
	select {
	case w.collected <- struct{}{}:
	default:
	}
	return nil
}

// acknowledgingJournal tells the exchanger which outcomes it need not keep any longer.
type acknowledgingJournal struct {
	journalAdapter
	client *exchanger.Client
}

// Append implements refresh.Journal.
func (a acknowledgingJournal) Append(e refresh.Entry) error {
	if err := a.journalAdapter.Append(e); err != nil {
		return err
	}
	a.client.Acknowledge(e.ID)
	return nil
}
