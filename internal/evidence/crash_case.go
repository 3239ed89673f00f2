package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// crashTimeout is the provider's: a claim lives 2.5 s, its quarantine ends after 4.5 s, its job comes back
	// after 9.5 s.
	crashTimeout = 2 * time.Second
	// crashLife and crashDue make the first access token due a second after its enrolment and long-lived all the same, so
	// that nobody runs out of time and nothing is a last try.
	crashLife      = 10 * time.Minute
	crashDue       = time.Second
	crashLifeAfter = time.Hour
	crashGrace     = time.Minute
	// outage is how long NATS stays away.
	outage = 3 * time.Second
	// flagWithin is when a doubt must be known.
	flagWithin = 30 * time.Second
	// crashWithin ends a case that hangs.
	crashWithin = 2 * time.Minute
	// asideWithin is how long a reply that came too late may wait for the next look at its journal.
	asideWithin = 12 * time.Second
	// askEvery is how often something is asked for until it is there.
	askEvery = 250 * time.Millisecond
)

// What workers and nats-server say.
const (
	saidStarted  = "worker started"
	saidEnd      = `"took_ms"` // in the line about a job's end, whatever it was
	saidGone     = "NATS is gone"
	saidDenied   = "Publish Violation"
	saidReloaded = "Reloaded server configuration"
)

// crashResult is what became of a case.
type crashResult struct {
	crashCase
	verdict fleet.Verdict
	flagged time.Duration // from the fault until a doubt was heard of; 0: there was none
	goneOn  int           // refreshes afterwards
	aside   int           // replies that came too late and are kept
	took    time.Duration
	err     error
}

// saw is the fate that the witnesses speak of.
func (res crashResult) saw() fate {
	v := res.verdict
	return fate{
		doubted: res.flagged > 0, settled: v.Versions > 1+res.goneOn, lost: len(v.Lost) > 0,
		aside: res.aside > 0, presented: int(v.Ledger.Requests["token"]) - res.goneOn,
	}
}

// crashRun is a case at work.
type crashRun struct {
	crashCase
	cfg *CrashConfig

	fleet                  *fleet.Fleet
	ownFile                string // the server's configuration
	scheduler, held, other *fleet.Process
	struck                 time.Time
}

// crash runs a case from its beginning to its end.
func crash(ctx context.Context, r crashRun) (res crashResult) {
	ctx, cancel := context.WithTimeout(ctx, crashWithin)
	defer cancel()
	res.crashCase = r.crashCase
	begun := time.Now()
	dir, err := os.MkdirTemp("", "freshet-crash-case-")
	if err != nil {
		res.err = err
		return res
	}
	defer os.RemoveAll(dir)
	if res.err = r.prepare(ctx, dir); res.err == nil {
		res.err = r.play(ctx, &res)
		if res.err != nil {
			res.err = fmt.Errorf("%w%s", res.err, r.lastWords())
		}
		res.err = errors.Join(res.err, r.fleet.Close())
	}
	res.took = time.Since(begun)
	return res
}

// prepare starts the servers.
func (r *crashRun) prepare(ctx context.Context, dir string) (err error) {
	r.ownFile = filepath.Join(dir, "nats-server.conf")
	if err := r.writeNATSFile(false); err != nil {
		return err
	}
	r.fleet, err = fleet.Start(ctx, fleet.Config{
		Dir: dir, Binaries: r.cfg.Programs.Binaries, NATSConfig: r.ownFile,
		Auth: authserver.Config{
			Rotation: r.class, Grace: crashGrace, AccessLifetime: crashLifeAfter,
			Lifetime: func(_ string, n int) time.Duration {
				if n == 1 {
					return crashLife
				}
				return 0
			},
		},
		Refresh: provider.Refresh{EarlyRefused: provider.Duration(crashLife - crashDue)},
		Limits:  provider.Limits{Timeout: provider.Duration(crashTimeout)},
	})
	return err
}

// play lets the fault befall the worker and follows what comes of it.
func (r *crashRun) play(ctx context.Context, res *crashResult) error {
	want := r.expect()
	if err := r.hold(ctx); err != nil {
		return err
	}
	r.struck = time.Now()
	if err := r.strike(ctx); err != nil {
		return err
	}
	if want.doubted {
		if err := r.awaitDoubt(ctx); err != nil {
			return fmt.Errorf("wait for the doubt: %w", err)
		}
		if res.flagged = time.Since(r.struck); res.flagged > flagWithin {
			return fmt.Errorf("the doubt was told after %v", res.flagged)
		}
	}
	if err := r.heal(ctx); err != nil {
		return err
	}
	if want.settled {
		if err := r.awaitOutcome(ctx, want); err != nil {
			return fmt.Errorf("wait for the outcome: %w", err)
		}
	}
	return r.finish(ctx, want, res)
}

// finish refreshes once more what is not lost, ends all, and asks the witnesses.
func (r *crashRun) finish(ctx context.Context, want fate, res *crashResult) (err error) {
	if !want.lost {
		res.goneOn = 1
		if err := r.goOn(ctx, want); err != nil {
			return fmt.Errorf("refresh once more: %w", err)
		}
	}
	if want.aside {
		r.awaitAside(ctx)
	}
	if err := r.stop(ctx); err != nil {
		return err
	}
	if res.verdict, err = r.fleet.Verdict(ctx); err != nil {
		return err
	}
	for _, p := range r.fleet.Processes() {
		res.aside += p.Log.Count(refresh.ErrLateReply.Error())
	}
	return want.judge(res)
}

// worker starts a worker and waits until it works. env comes on top.
func (r *crashRun) worker(ctx context.Context, name string, env ...string) (*fleet.Process, error) {
	c := r.fleet.WorkerCommand(name)
	c.Env = append(c.Env, env...)
	if r.cfg.Mistake != "" {
		c.Env = append(c.Env, "FRESHET_MISTAKE="+r.cfg.Mistake)
	}
	p, err := r.fleet.Launch(c)
	if err != nil {
		return nil, err
	}
	return p, p.Await(ctx, saidStarted, 1)
}

// The two hosts.
const (
	firstHost  = "worker-1"
	secondHost = "worker-2"
)

// hold enrols the credential, which is due at once, and returns when its attempt stands at the step and the other
// worker, if there is one, waits for work.
func (r *crashRun) hold(ctx context.Context) (err error) {
	if r.scheduler, err = r.fleet.Scheduler("scheduler"); err != nil {
		return err
	}
	if r.held, err = r.worker(ctx, firstHost, "FRESHET_HOLD_STEP="+string(r.step)); err != nil {
		return err
	}
	if err := r.fleet.Enrol(ctx, 1); err != nil {
		return err
	}
	if err := r.held.Await(ctx, "held at "+string(r.step), 1); err != nil {
		return err
	}
	if r.fault != faultReturned {
		r.other, err = r.worker(ctx, secondHost)
	}
	return err
}

// strike does what the fault is. Afterwards somebody else has taken over, or the fault is over.
func (r *crashRun) strike(ctx context.Context) (err error) {
	switch r.fault {
	case faultReturned:
		if err := r.held.Kill(); err != nil {
			return err
		}
		r.held, err = r.worker(ctx, firstHost)
		return err
	case faultKilled, faultLate:
		return errors.Join(r.held.Kill(), r.other.Await(ctx, saidEnd, 1))
	case faultFrozen:
		return errors.Join(r.held.Freeze(), r.other.Await(ctx, saidEnd, 1))
	case faultAway:
		return r.cutOff(ctx)
	default:
		return r.refuse(ctx)
	}
}

// cutOff takes NATS away, lets the attempt go on without it, and brings it back.
func (r *crashRun) cutOff(ctx context.Context) error {
	if err := errors.Join(r.fleet.NATS.Kill(), r.held.Await(ctx, saidGone, 1), r.release()); err != nil {
		return err
	}
	select {
	case <-time.After(outage):
	case <-ctx.Done():
		return ctx.Err()
	}
	return r.fleet.NATS.Start(ctx)
}

// refuse takes the right to write records from the workers, lets the attempt go on until it was refused or is
// at its end, and gives the right back.
func (r *crashRun) refuse(ctx context.Context) error {
	if err := r.reload(ctx, true, 1); err != nil {
		return err
	}
	if err := r.release(); err != nil {
		return err
	}
	p, said := r.fleet.NATS.Process, saidDenied
	if r.after(refresh.StepCommitted) {
		p, said = r.held, saidEnd
	}
	return errors.Join(p.Await(ctx, said, 1), r.reload(ctx, false, 2))
}

func (r *crashRun) reload(ctx context.Context, refuse bool, n int) error {
	if err := r.writeNATSFile(refuse); err != nil {
		return err
	}
	p := r.fleet.NATS.Process
	return errors.Join(p.Signal(syscall.SIGHUP), p.Await(ctx, saidReloaded, n))
}

// writeNATSFile writes the server's configuration, on request without the worker's right to write records.
func (r *crashRun) writeNATSFile(refuse bool) error {
	data, err := os.ReadFile(r.cfg.Programs.NATSConfig)
	if err != nil {
		return err
	}
	text := string(data)
	if refuse {
		const right = `"$KV.tokens.>"`
		before, after, ok := strings.Cut(text, "user: worker\n")
		if !ok || !strings.Contains(after, right) {
			return fmt.Errorf("%s names no worker that may write records", r.cfg.Programs.NATSConfig)
		}
		text = before + "user: worker\n" + strings.Replace(after, right, "", 1)
	}
	return os.WriteFile(r.ownFile, []byte(text), 0o600)
}

func (r *crashRun) release() error { return r.held.Signal(syscall.SIGUSR1) }

// heal brings back what comes back after somebody else has taken over.
func (r *crashRun) heal(ctx context.Context) (err error) {
	switch r.fault {
	case faultLate:
		r.held, err = r.worker(ctx, firstHost)
		if err == nil && r.after(refresh.StepJournal) && !r.after(refresh.StepSettled) {
			err = r.held.Await(ctx, saidEnd, 1) // what its journal holds is seen to
		}
	case faultFrozen:
		err = errors.Join(r.held.Thaw(), r.release(), r.held.Await(ctx, saidEnd, 1))
	default: // came back before
	}
	return err
}

// record reads the record, as soon as it can be read; ok is false when ctx ended first.
func (r *crashRun) record(ctx context.Context) (s refresh.Stored, ok bool) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		s, err := r.fleet.Broker.Get(ctx, events.Credential{Provider: fleet.Provider, Account: "user-0"})
		if err == nil {
			return s, true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, false
		}
	}
}

// await waits until the record and what was heard are as they should be. It gives up as soon as that cannot come any more:
// never says why.
func (r *crashRun) await(ctx context.Context, ok func(refresh.Record, fleet.Heard) bool, never func(refresh.Record) error) error {
	var broken error
	err := r.fleet.AwaitHeard(ctx, func(h fleet.Heard) bool {
		if l := r.fleet.Auth.Ledger(); l.Replayed+l.Concurrent > 0 {
			broken = fmt.Errorf("%d refresh tokens replayed, %d presented twice at once", l.Replayed, l.Concurrent)
			return true
		}
		s, read := r.record(ctx)
		if !read || ok(s.Record, h) {
			return read
		}
		broken = never(s.Record)
		return broken != nil
	})
	return errors.Join(broken, err)
}

// awaitDoubt waits until the record is uncertain and an event has said so.
func (r *crashRun) awaitDoubt(ctx context.Context) error {
	ok := func(rec refresh.Record, h fleet.Heard) bool {
		return rec.State == refresh.StateUncertain && h.Events[events.TokenRefreshFailed] > 0
	}
	return r.await(ctx, ok, func(rec refresh.Record) error {
		if rec.Version > 1 || rec.State == refresh.StateReauthRequired {
			return fmt.Errorf("the record is %s at version %d, and was to be uncertain first", rec.State, rec.Version)
		}
		return nil
	})
}

// awaitOutcome waits until the attempt's outcome, or that of the next, is in the record and was told.
func (r *crashRun) awaitOutcome(ctx context.Context, want fate) error {
	ok := func(rec refresh.Record, h fleet.Heard) bool {
		return rec.State == refresh.StateActive && rec.Claim == nil && h.Versions["user-0"] >= 2
	}
	return r.await(ctx, ok, func(rec refresh.Record) error {
		if rec.State == refresh.StateUncertain && !want.doubted {
			return errors.New("the record is uncertain, and nothing was to be in doubt")
		}
		return nil
	})
}

// awaitAside waits until the worker that came back has put its reply aside; that it did not is found later.
func (r *crashRun) awaitAside(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, asideWithin)
	defer cancel()
	_ = r.held.Await(ctx, refresh.ErrLateReply.Error(), 1)
}

// goOn asks for another version, as cron would, or as a reader does whose access token was refused where the record is
// in doubt. The queue may still hold the job of the attempt that came to harm.
func (r *crashRun) goOn(ctx context.Context, want fate) error {
	s, ok := r.record(ctx)
	if !ok {
		return errors.New("the record cannot be read")
	}
	job := refresh.Job{Reason: events.ReasonCron, GrantID: s.Record.GrantID, NewerThan: s.Record.Version, IssuedAfter: r.fleet.Broker.Now()}
	if !want.settled {
		job.Reason, job.IssuedAfter, job.Refused = events.ReasonDemand, time.Time{}, true
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		err := r.fleet.Broker.PublishJob(ctx, s.Record.Credential().Key(), job, "")
		if err != nil && !errors.Is(err, broker.ErrQueued) {
			return err
		}
		if r.fleet.Heard().Versions["user-0"] > s.Record.Version {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop ends the processes that live as a service manager does; they must end well.
func (r *crashRun) stop(ctx context.Context) error {
	var errs []error
	for _, p := range []*fleet.Process{r.scheduler, r.held, r.other} {
		if p == nil {
			continue
		}
		select {
		case <-p.Done():
			continue // it was killed
		default:
		}
		if code, err := p.Stop(ctx); err != nil || code != 0 {
			errs = append(errs, fmt.Errorf("%s ended with exit code %d: %w", p.Name, code, err))
		}
	}
	return errors.Join(errs...)
}

// lastWords are the ends of the logs.
func (r *crashRun) lastWords() string {
	var b strings.Builder
	for _, p := range append(r.fleet.Processes(), r.fleet.NATS.Process) {
		fmt.Fprintf(&b, "\n  %s said last:\n    %s", p.Name, strings.ReplaceAll(p.Log.Tail(6), "\n", "\n    "))
	}
	return b.String()
}
