package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/host"
)

// arena is where contestants meet: a directory, the built programs and the authorization server.
type arena struct {
	dir      string
	self     string
	programs host.Programs
	auth     *authd.Client

	authProcess *host.Process
	made        atomic.Int64 // contestants so far
}

// openArena builds the programs and starts the authorization server.
func openArena(ctx context.Context) (*arena, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a := &arena{self: self}
	if a.dir, err = os.MkdirTemp("", "freshet-bench-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(a.dir, 0o755); err != nil { // servers that run as somebody else come through
		return nil, errors.Join(err, a.close())
	}
	if a.programs, err = host.Build(ctx, a.dir); err != nil {
		return nil, errors.Join(err, a.close())
	}
	if err := a.startAuth(ctx); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *arena) startAuth(ctx context.Context) (err error) {
	a.authProcess, err = contest.Env{Self: a.self}.Child(authdName, "").Start()
	if err != nil {
		return err
	}
	a.auth = &authd.Client{PID: a.authProcess.PID()}
	return a.authProcess.Read(ctx, &a.auth.Addresses)
}

func (a *arena) close() error {
	return errors.Join(a.authProcess.Kill(), os.RemoveAll(a.dir))
}

// entrant is a contestant with what the harness knows of it.
type entrant struct {
	contest.Contestant
	prefix string // of its accounts
	stored int    // how many
	most   int    // at most so many of them are due in a round; 0: all
	ears   ears
}

// starter starts a contestant.
type starter func(ctx context.Context, env contest.Env) (contest.Contestant, error)

// enter starts a contestant against an endpoint and loads n grants.
func (a *arena) enter(ctx context.Context, start starter, endpoint string, atOnce, n int) (*entrant, error) {
	e := &entrant{prefix: fmt.Sprintf("c%03d", a.made.Add(1))}
	e.ears.changed = make(chan struct{}, 1)
	env := contest.Env{
		Dir: filepath.Join(a.dir, e.prefix), Programs: a.programs, Self: a.self, Auth: a.auth, Endpoint: endpoint, AtOnce: atOnce,
		Heard: e.ears.hear,
	}
	if err := os.Mkdir(env.Dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if e.Contestant, err = start(ctx, env); err != nil {
		return nil, err
	}
	if err := a.load(ctx, e, endpoint, n); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// load makes n more grants and stores them.
func (a *arena) load(ctx context.Context, e *entrant, endpoint string, n int) error {
	grants, err := a.auth.Issue(ctx, endpoint, e.prefix, e.stored, n)
	if err != nil {
		return err
	}
	if err := e.Load(ctx, grants); err != nil {
		return fmt.Errorf("load %d grants: %w", n, err)
	}
	e.stored += n
	return nil
}

// account is the i-th account of an entrant.
func (e *entrant) account(i int) string { return fmt.Sprintf("%s-%07d", e.prefix, i) }

// ears count what a subscriber hears.
type ears struct {
	heard   atomic.Int64
	goal    atomic.Int64
	reached atomic.Int64 // Unix nanoseconds
	changed chan struct{}
	each    atomic.Pointer[func(account string)]
}

func (e *ears) hear(account string) {
	if f := e.each.Load(); f != nil {
		(*f)(account)
	}
	if e.heard.Add(1) != e.goal.Load() {
		return
	}
	e.reached.Store(time.Now().UnixNano())
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// expect sets how many more must be heard.
func (e *ears) expect(n int) {
	select {
	case <-e.changed:
	default:
	}
	e.goal.Store(e.heard.Load() + int64(n))
}

// wait waits until they are heard, and returns when the last one was.
func (e *ears) wait(ctx context.Context) (time.Time, error) {
	select {
	case <-e.changed:
		return time.Unix(0, e.reached.Load()), nil
	case <-ctx.Done():
		missing := e.goal.Load() - e.heard.Load()
		return time.Time{}, fmt.Errorf("wait for renewals: %w; %d of them are missing", ctx.Err(), missing)
	}
}

// round is one drain: everything due, until a subscriber has heard of all.
type round struct {
	Refreshes int
	Took      time.Duration
	Self      time.Duration // processor time of the worker
	Server    time.Duration // and of what it needs
	Auth      time.Duration // and of the authorization server
}

func (r round) rate() float64 { return float64(r.Refreshes) / r.Took.Seconds() }

// roundWithin is how long a round may take before something is wrong.
const roundWithin = 5 * time.Minute

// drain does one round.
func (a *arena) drain(ctx context.Context, e *entrant) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	fail := func(err error) (round, error) { return round{}, fmt.Errorf("%s: %w", e.Info().Name, err) }
	if err := e.Fill(ctx); err != nil {
		return fail(err)
	}
	due := e.stored
	if e.most > 0 {
		due = min(due, e.most)
	}
	e.ears.expect(due)
	self, server, auth := host.CPU(e.Self()...), host.CPU(e.Servers()...), host.CPU(a.auth.PID)
	began := time.Now()
	if err := e.Go(ctx); err != nil {
		return fail(err)
	}
	ended, err := e.ears.wait(ctx)
	if err != nil {
		return fail(err)
	}
	r := round{
		Refreshes: due, Took: ended.Sub(began), Self: host.CPU(e.Self()...) - self,
		Server: host.CPU(e.Servers()...) - server, Auth: host.CPU(a.auth.PID) - auth,
	}
	if err := e.Halt(ctx); err != nil {
		return fail(err)
	}
	return r, nil
}
