package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	// restAfterLocal is how long a worker stays away from a lane that it cannot serve.
	restAfterLocal = 10 * time.Second
	// restWithoutLane is how long it waits for a lane that nobody has set up.
	restWithoutLane = 10 * time.Second
	// restAfterWatch is how long it waits before it watches the providers again.
	restAfterWatch = time.Second
)

// errLeft ends a lane's run because this worker cannot do its work.
var errLeft = errors.New("left the lane")

// lanes runs one consumer of jobs for each provider, so that a slow provider keeps nobody else waiting.
type lanes struct {
	worker *Worker
	wg     sync.WaitGroup

	mu      sync.Mutex
	running map[string]context.CancelFunc
}

func newLanes(w *Worker) *lanes {
	return &lanes{worker: w, running: make(map[string]context.CancelFunc)}
}

// run follows the providers until ctx ends, then waits for what is in flight.
func (l *lanes) run(ctx context.Context) error {
	defer l.wg.Wait()
	w := l.worker
	for {
		see := func(name string, e provider.Entry, revision uint64, err error) { l.see(ctx, name, e, revision, err) }
		err := w.broker.WatchProviders(ctx, see, w.providers.fill)
		if ctx.Err() != nil {
			return nil
		}
		w.log.Debug().AnErr("error", err).Msg("providers are watched again")
		if !rest(ctx, restAfterWatch) {
			return nil
		}
	}
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
	if l.running[name] != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	l.running[name] = cancel
	l.wg.Go(func() { l.serve(ctx, name) })
}

func (l *lanes) stop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cancel := l.running[name]; cancel != nil {
		cancel()
		delete(l.running, name)
	}
}

// serve takes jobs from one lane until ctx ends.
func (l *lanes) serve(ctx context.Context, name string) {
	w := l.worker
	for ctx.Err() == nil {
		switch err := l.serveOnce(ctx, name); {
		case errors.Is(err, errLeft):
			rest(ctx, restAfterLocal)
		case ctx.Err() != nil:
		case errors.Is(err, broker.ErrNoLane):
			w.log.Warn().Str("provider", name).Msg("the provider has no lane: run freshet apply")
			rest(ctx, restWithoutLane)
		default:
			w.log.Warn().AnErr("error", err).Str("provider", name).Msg("the lane is taken up again")
			rest(ctx, restAfterWatch)
		}
	}
}

func (l *lanes) serveOnce(ctx context.Context, name string) error {
	w := l.worker
	lane, err := w.broker.Lane(ctx, name)
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	err = lane.Run(ctx, l.hands(name), func(ctx context.Context, d *broker.Delivery) {
		if !w.handle(ctx, d) {
			leave(errLeft)
		}
	})
	if errors.Is(context.Cause(ctx), errLeft) {
		return errLeft
	}
	return err
}

func (l *lanes) hands(name string) int {
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
	res := w.engine.Do(ctx, d.Credential, d.Job)
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

// rest waits, and reports false when ctx ended first.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
