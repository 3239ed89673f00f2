package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// WorkerConfig describes a worker. Conn, the keysets and StateDir are required.
type WorkerConfig struct {
	Name   string // who claims, unique in the fleet; default "worker"
	Conn   *nats.Conn
	Broker broker.Config
	Grant  *seal.Keyset
	Access *seal.Keyset
	// StateDir keeps the journal; one worker at a time has it.
	StateDir string
	// JournalSync makes every outcome survive a power cut before it is read.
	JournalSync bool
	// Hands bounds the attempts in flight on each lane in this process; 0: the lane's own concurrency.
	Hands int
	Log   zerolog.Logger
	// Step hears of each step of an attempt, and may hold it up: for tests. Optional.
	Step func(refresh.Step)
	// OnResult hears of each job's end. Optional.
	OnResult func(refresh.Result)
	// Dial replaces the network below the token requests. Optional.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Exchanger is the address, unix://PATH, of the process that makes the token requests. Empty: this process does.
	Exchanger string
	// Telemetry shows what it does. Optional.
	Telemetry *telemetry.Telemetry
}

// Worker is a worker at work.
type Worker struct {
	cfg       WorkerConfig
	broker    *broker.Broker
	journal   *journal.Journal
	exchange  *refresh.HTTPExchange
	asker     *refresh.Asker
	exchanger *exchanger.Client // nil: exchange is used
	collected chan struct{}     // readable after an outcome came from the exchanger
	recheck   *recheck
	engine    *refresh.Engine
	providers *providerTable
	events    *events.Publisher
	telemetry *telemetry.Telemetry
	tracer    *telemetry.Tracer // nil: no spans
	begun     func()            // makes it ready
	serving   serving
	log       zerolog.Logger
	quiet     limiter
}

// RunWorker works until ctx ends. Then it stops fetching jobs, finishes what is in flight, and returns; what could not
// be committed stays in the journal, and the log says how much.
func RunWorker(ctx context.Context, cfg WorkerConfig) (err error) {
	cfg.Name = cmp.Or(cfg.Name, "worker")
	w := &Worker{
		cfg: cfg, log: cfg.Log.With().Str("component", "worker").Str("worker", cfg.Name).Logger(), telemetry: shown(cfg.Telemetry),
		recheck: newRecheck(),
	}
	begun, remove := w.telemetry.Health.Starting()
	defer remove()
	w.begun = begun
	defer ShowNATS(w.telemetry, cfg.Conn)()
	if w.broker, err = openBroker(ctx, cfg.Conn, cfg.Broker, w.log); err != nil {
		return stopped(ctx, err)
	}
	w.journal, err = journal.Open(filepath.Join(cfg.StateDir, "journal"), journal.Config{
		Sync: cfg.JournalSync, Held: true,
		OnError: func(err error) { w.log.Error().Err(err).Msg("journal: free the disk, or fix the directory") },
	})
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if n := w.journal.Stats().Aside; n > 0 {
		w.log.Warn().Int("replies", n).Str("dir", cfg.StateDir).
			Msg("replies that could not be committed lie sealed in this state directory: see the log of the time they came for the credentials, and log in again where one is uncertain")
	}
	if err := w.build(); err != nil {
		return err
	}
	defer w.show()()
	return w.run(ctx)
}

// openBroker waits for NATS and checks that it is what we need; processes create nothing.
func openBroker(ctx context.Context, nc *nats.Conn, cfg broker.Config, log zerolog.Logger) (*broker.Broker, error) {
	return openChecked(ctx, nc, cfg, log, (*broker.Broker).Check)
}

// OpenEnroller is openBroker for a process that only brings grants in: it asks for no asset that its role may not see.
func OpenEnroller(ctx context.Context, nc *nats.Conn, cfg broker.Config, log zerolog.Logger) (*broker.Broker, error) {
	return openChecked(ctx, nc, cfg, log, (*broker.Broker).CheckEnrollments)
}

func openChecked(
	ctx context.Context, nc *nats.Conn, cfg broker.Config, log zerolog.Logger, check func(*broker.Broker, context.Context) error,
) (*broker.Broker, error) {
	if err := waitConnected(ctx, nc, log); err != nil {
		return nil, err
	}
	b, err := broker.New(nc, cfg)
	if err != nil {
		return nil, err
	}
	for {
		err := b.CheckServer()
		if err == nil {
			err = check(b, ctx)
		}
		if !lostNATS(nc, err) || ctx.Err() != nil {
			return b, err
		}
		if err := waitConnected(ctx, nc, log); err != nil {
			return nil, err
		}
	}
}

// lostNATS reports whether err says no more than that the connection broke meanwhile: a start waits for NATS, whenever it goes.
func lostNATS(nc *nats.Conn, err error) bool {
	return err != nil && (!nc.IsConnected() || errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrReconnectBufExceeded))
}

// stopped turns the error of a start that was cancelled into a clean end.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (w *Worker) build() error {
	w.exchange = refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: w.cfg.Dial})
	w.asker = refresh.NewAsker(w.cfg.Dial)
	w.asker.Now = w.broker.Now
	w.events = w.broker.Publisher()
	w.providers = newProviderTable(w.cfg.Grant, w.broker.Names())
	if err := w.connectExchanger(); err != nil {
		return err
	}
	exchange, ready, outcomes := w.presenter()
	w.tracer = w.telemetry.Tracer.In(w.broker.Names())
	w.engine = refresh.NewEngine(refresh.Config{
		Worker: w.cfg.Name, Store: w.tracer.Store(w.broker), Exchange: w.tracer.Exchanger(exchange), Journal: outcomes,
		Teller: countingTeller{w.tracer.Teller(w.events), w.broker.Now, w.telemetry},
		Keys:   refresh.Keys{Bucket: w.broker.Names().TokensBucket(), Grant: w.cfg.Grant, Access: w.cfg.Access},
		Peek:   w.broker.Peek, Epoch: w.broker.Epoch, Provider: w.providers.get, Now: w.broker.Now,
		Ready: ready, Observe: w.observe, Step: w.cfg.Step,
		Active: w.asker.Active, Revoke: w.asker.Revoke, Recall: w.recall,
		Suspect: func(name string, at time.Time) bool { return w.providers.suspect(name, at, w.broker.Now()) },
	})
	return nil
}

func (w *Worker) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.broker.RunClock(ctx) })
	g.Go(func() error { return SayRefusals(ctx, w.cfg.Conn, w.log) })
	g.Go(func() error {
		if !waitClock(ctx, w.broker, w.log) {
			return nil
		}
		w.drainExchanger(ctx)
		w.takeBack(ctx)
		g.Go(func() error { return w.recoverJournal(ctx) })
		g.Go(func() error { return w.runExchanger(ctx) })
		w.begun()
		w.log.Info().Str("nats", w.cfg.Conn.ConnectedServerVersion()).Msg("worker started")
		return newLanes(w).run(ctx)
	})
	return stopped(ctx, g.Wait())
}

// clockWithin is how long the first measurement of NATS time may take before somebody should know.
const clockWithin = 10 * time.Second

// waitClock waits until NATS time is known, and reports false when ctx ended first. Before, a host whose clock is ahead would
// take a live claim for a dead one.
func waitClock(ctx context.Context, b *broker.Broker, log zerolog.Logger) bool {
	slow := time.AfterFunc(clockWithin, func() {
		log.Warn().Msg("NATS does not tell its time: nothing starts before it does; see whether this user may ask for STREAM.INFO")
	})
	defer slow.Stop()
	select {
	case <-b.ClockReady():
		return true
	case <-ctx.Done():
		return false
	}
}

// close ends the journal and says what it leaves.
func (w *Worker) close() error {
	w.exchange.CloseIdle()
	w.asker.CloseIdle()
	if w.exchanger != nil {
		w.exchanger.Close()
	}
	left := len(w.journal.Pending())
	if left > 0 {
		w.log.Warn().Int("outcomes", left).Str("dir", w.cfg.StateDir).
			Msg("stopped with outcomes that are not committed: start a worker with this state directory soon")
	} else {
		w.log.Info().Msg("worker stopped, nothing left in its journal")
	}
	return w.journal.Close()
}

// recoverEvery is how often outcomes whose commit is not known are tried again.
const recoverEvery = 5 * time.Second

// recoverJournal commits what an earlier life, or an outage, left in the journal.
func (w *Worker) recoverJournal(ctx context.Context) error {
	tick := time.NewTicker(recoverEvery)
	defer tick.Stop()
	for {
		warnOffset(w.log, w.broker, &w.quiet)
		w.recoverOnce(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-w.providers.changed():
		case <-w.collected:
		case <-w.recheck.wanted:
		case <-tick.C:
		}
	}
}

// recoverOnce commits what it can. Until all that is kept was compared over the present connection, nothing of it expires.
func (w *Worker) recoverOnce(ctx context.Context) {
	epoch, connected := w.broker.Epoch(), w.cfg.Conn.IsConnected()
	if !connected || !w.recheck.is(epoch) {
		w.journal.Hold()
	}
	if !connected || !w.providers.ready() {
		return
	}
	w.recoverAll(ctx, slices.Values(w.journal.Pending()))
	if w.recheck.is(epoch) || !w.recoverAll(ctx, w.journal.Recent()) || ctx.Err() != nil {
		return
	}
	w.recheck.finish(epoch)
	w.journal.Release()
}

// recoverAtOnce is how many outcomes are carried into the store side by side: one that must wait delays no other.
const recoverAtOnce = 16

// recoverAll reports whether the store had a word about each of them.
func (w *Worker) recoverAll(ctx context.Context, entries iter.Seq[journal.Entry]) (settled bool) {
	var g errgroup.Group
	g.SetLimit(recoverAtOnce)
	for e := range entries {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return w.recoverOne(ctx, e) })
	}
	return g.Wait() == nil
}

// recoverOne fails with refresh.ErrUnsettled when the store did not answer.
func (w *Worker) recoverOne(ctx context.Context, e journal.Entry) (unsettled error) {
	res := w.engine.Recover(ctx, refresh.Entry{ID: e.ID, Key: e.Key, Data: e.Data, Revision: e.Revision})
	if errors.Is(res.Err, refresh.ErrUnsettled) {
		unsettled = res.Err
	}
	if res.Err == nil || res.Attempt != "" || ctx.Err() != nil || !w.quiet.allow("journal "+e.ID, quietAbout, time.Now()) {
		return unsettled
	}
	w.log.Warn().Err(res.Err).Str("attempt", e.ID).Str("key", e.Key).Str("dir", w.cfg.StateDir).
		Msg("a journalled outcome cannot be committed yet and is tried every few seconds: keep this state directory; apply the provider, or give this worker the key, if that is what is missing")
	return unsettled
}

// journalAdapter lets the engine use the journal.
type journalAdapter struct{ *journal.Journal }

var _ refresh.Journal = journalAdapter{}

// Append implements refresh.Journal.
func (a journalAdapter) Append(e refresh.Entry) error {
	return a.Journal.Append(journal.Entry{ID: e.ID, Key: e.Key, At: time.Now(), Data: e.Data})
}

// Drop implements refresh.Journal.
func (a journalAdapter) Drop(id string) error { return a.Retire(id) }
