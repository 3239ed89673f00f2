package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	// warmUp is for how long a worker that came to a lane takes few jobs at a time.
	warmUp = 5 * time.Second
	// restAfterLocal is how long a worker stays away from a lane that it cannot serve.
	restAfterLocal = 10 * time.Second
	// restWithoutLane is how long it waits for a lane that nobody has set up.
	restWithoutLane = 10 * time.Second
	// restDenied is how long it waits before it tries again what NATS denied it.
	restDenied = 10 * time.Second
	// restAfterWatch is how long it waits before it watches the providers again.
	restAfterWatch = time.Second
	// interruptedApart is how far apart interruptions are that need nobody's attention: servers are restarted.
	interruptedApart = time.Minute
)

// errLeft ends a lane's run because this worker cannot do its work.
var errLeft = errors.New("left the lane")

// lanes runs one consumer of jobs for each provider, so that a slow provider keeps nobody else waiting.
type lanes struct {
	worker *Worker
	wg     sync.WaitGroup

	mu      sync.Mutex
	running map[string]runningLane
}

type runningLane struct {
	stop  context.CancelFunc
	hands *broker.Hands
}

func newLanes(w *Worker) *lanes {
	return &lanes{worker: w, running: make(map[string]runningLane)}
}

// run follows the providers until ctx ends, then waits for what is in flight.
func (l *lanes) run(ctx context.Context) error {
	defer l.wg.Wait()
	w := l.worker
	for {
		err := l.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case errors.Is(err, broker.ErrWatchLost):
			w.interrupted(w.log, "watch", err, "the watch of the providers breaks off again and again: look at the log of the NATS server")
		case errors.Is(err, broker.ErrPermission):
			w.complain(w.log, "watch", err, "the providers cannot be watched, changes are not seen: give this process's NATS user the subject")
		default:
			w.complain(w.log, "watch", err, "the providers cannot be watched, changes are not seen: look at the log of the NATS server, and run freshet setup")
		}
		if !sleep.For(ctx, restAfterWatch) {
			return nil
		}
	}
}

// watch follows the providers until that breaks off. A provider that vanished while nobody watched is not there to be seen.
func (l *lanes) watch(ctx context.Context) error {
	seen := make(map[string]bool)
	see := func(name string, e provider.Entry, revision uint64, err error) {
		seen[name] = true
		l.see(ctx, name, e, revision, err)
	}
	return l.worker.broker.WatchProviders(ctx, see, func() {
		for _, name := range l.worker.providers.fill(seen) {
			l.stop(name)
		}
	})
}

// complain warns, once an hour for each kind and message, of what keeps this worker from its work. That NATS is gone is said elsewhere.
func (w *Worker) complain(log zerolog.Logger, kind string, err error, msg string) {
	level := zerolog.DebugLevel
	if w.cfg.Conn.IsConnected() && w.quiet.allow(kind+": "+msg, quietAbout, time.Now()) {
		level = zerolog.WarnLevel
	}
	log.WithLevel(level).Err(err).Msg(msg)
}

// interrupted complains of what mends itself, when it happens again soon.
func (w *Worker) interrupted(log zerolog.Logger, kind string, err error, msg string) {
	if w.quiet.allow(kind+" interrupted", interruptedApart, time.Now()) {
		log.Debug().Err(err).Msg("interrupted")
		return
	}
	w.complain(log, kind, err, msg)
}

// see takes over a provider that is new, changed or gone.
func (l *lanes) see(ctx context.Context, name string, e provider.Entry, revision uint64, err error) {
	log := l.worker.log.With().Str("provider", name).Uint64("revision", revision).Logger()
	switch {
	case errors.Is(err, broker.ErrUnknownProvider):
		l.worker.providers.remove(name)
		l.stop(name)
		return
	case err != nil:
		log.Error().Err(err).Msg("provider definition cannot be read, an earlier one stays in force: apply it again")
		return
	}
	if err := l.worker.providers.set(name, e); err != nil {
		log.Error().Err(err).Msg("client secrets cannot be opened, an earlier definition stays in force: give this worker the grant keyset they were sealed with, or apply again")
		return
	}
	l.start(ctx, name)
}

func (l *lanes) start(ctx context.Context, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lane, ok := l.running[name]; ok {
		lane.hands.Set(l.handsOf(name))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	hands := broker.NewHands(l.handsOf(name))
	l.running[name] = runningLane{stop: cancel, hands: hands}
	l.wg.Go(func() { l.serve(ctx, name, hands) })
}

func (l *lanes) stop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lane, ok := l.running[name]; ok {
		lane.stop()
		delete(l.running, name)
		l.worker.serving.forget(name)
	}
}

// serve takes jobs from one lane until ctx ends.
func (l *lanes) serve(ctx context.Context, name string, hands *broker.Hands) {
	w, kind := l.worker, "lane "+name
	log := w.log.With().Str("provider", name).Logger()
	for ctx.Err() == nil {
		err := l.serveOnce(ctx, log, name, hands)
		l.note(ctx, name, err)
		switch {
		case errors.Is(err, errLeft):
			sleep.For(ctx, restAfterLocal)
		case ctx.Err() != nil:
		case errors.Is(err, broker.ErrNoLane):
			w.complain(log, kind, err, "the provider has no lane: run freshet apply")
			sleep.For(ctx, restWithoutLane)
		case errors.Is(err, broker.ErrPermission):
			w.complain(log, kind, err, "no job of this lane is taken: give this process's NATS user the subject")
			sleep.For(ctx, restDenied)
		default:
			w.complain(log, kind, err, "no job of this lane is taken: look at the log of the NATS server")
			sleep.For(ctx, restAfterWatch)
		}
	}
}

// note says whether a lane is served, unless it was stopped: nothing would take that back.
func (l *lanes) note(ctx context.Context, name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() == nil {
		l.worker.serving.note(name, err)
	}
}

func (l *lanes) serveOnce(ctx context.Context, log zerolog.Logger, name string, hands *broker.Hands) error {
	w := l.worker
	lane, err := w.broker.Lane(ctx, name)
	if err != nil {
		return err
	}
	l.note(ctx, name, nil)
	lane.WarmUp = warmUp
	lane.Trouble = func(err error) {
		w.interrupted(log, "lane "+name, err, "this lane breaks off again and again: look at the log of the NATS server")
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	err = lane.Run(ctx, hands, func(ctx context.Context, d *broker.Delivery) {
		if !w.handle(ctx, d) {
			leave(errLeft)
		}
	})
	if errors.Is(context.Cause(ctx), errLeft) {
		return errLeft
	}
	return err
}

// handsOf is how many jobs of a lane this worker carries out at once.
func (l *lanes) handsOf(name string) int {
	d, ok := l.worker.providers.get(name)
	if !ok {
		return 1
	}
	if n := l.worker.cfg.Hands; n > 0 {
		return min(n, d.Limits.Concurrency)
	}
	return d.Limits.Concurrency
}

// handle carries out one job and settles its message; it reports false when this worker cannot serve the lane.
func (w *Worker) handle(ctx context.Context, d *broker.Delivery) bool {
	if d.Err != nil {
		w.log.Error().Err(d.Err).Str("key", d.Key).Msg("a job that cannot be read is dropped")
		w.settled(d, d.Term("unreadable"))
		return true
	}
	res := w.carryOut(ctx, d)
	switch {
	case res.Verdict == refresh.VerdictAck, res.Verdict == refresh.VerdictNak && handedRound(d, res):
		w.settled(d, d.Ack())
	case res.Verdict == refresh.VerdictNak:
		w.settled(d, d.Nak(0))
	default: // redelivered after AckWait
	}
	w.holdLane(context.WithoutCancel(ctx), res)
	return res.Class != refresh.ClassLocal || res.Verdict != refresh.VerdictNak || lacksKey(res) && d.Delivered > 1
}

// maxRounds is how often a job that lacks a key is handed to whoever may have it.
const maxRounds = 3

// handedRound reports whether nobody seems to have the key that a record needs. The scheduler asks again later; going on
// would keep the lane's other credentials waiting.
func handedRound(d *broker.Delivery, res refresh.Result) bool {
	return lacksKey(res) && d.Delivered >= maxRounds
}

func lacksKey(res refresh.Result) bool { return errors.Is(res.Err, seal.ErrUnknownKey) }

// settled notes an ack that did not go out: the job is redelivered and found done.
func (w *Worker) settled(d *broker.Delivery, err error) {
	if err != nil {
		w.log.Debug().Err(err).Str("key", d.Key).Msg("a job's message could not be settled")
	}
}
