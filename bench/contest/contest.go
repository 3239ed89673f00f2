// Package contest says what a contestant is: one way to keep tokens fresh, with the processes it consists of. Each lives in a
// package below this one.
//
// # Model
//
// A contestant has a store, something that makes work of what is due, workers in a process of their own, and subscribers.
// The harness loads grants, makes all of them due while nobody works (Fill), lets the workers begin (Go), counts what a
// subscriber hears, and stops the clock when it has heard of each. So all do the same: take a due credential, read its refresh
// token, refresh over HTTP, store the rotated result, tell. The subscriber is in the harness's process, not in the
// workers'.
//
// # Concurrency
//
// One goroutine uses a contestant, but Publish may be called by several.
package contest

import (
	"context"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/host"
)

// Info is what a reader must know to compare.
type Info struct {
	Name       string
	Durability string // what a power cut may cost
	Promise    string // what keeps two workers from one refresh token, and what a dead worker leaves
}

// Env is what a contestant is given. All is required.
type Env struct {
	Dir      string // its own
	Programs host.Programs
	Self     string // this program, for worker processes: Self child NAME CONFIG
	Auth     *authd.Client
	Endpoint string // at which authorization server
	AtOnce   int    // refreshes in flight, at most
	// Heard is called for each renewal that a subscriber hears of. It may be called by several goroutines.
	Heard func(account string)
}

// Child is the command for one of this program's own worker processes.
func (e Env) Child(name, config string) host.Command {
	return host.Command{Name: name, Path: e.Self, Args: []string{"child", name, config}}
}

// Contestant is one way to keep tokens fresh. Its workers do nothing before the first Go.
type Contestant interface {
	Info() Info
	// Load stores grants.
	Load(ctx context.Context, grants []authd.Grant) error
	// Fill makes everything due, while the workers are halted.
	Fill(ctx context.Context) error
	// Go lets the workers work, and returns at once.
	Go(ctx context.Context) error
	// Halt lets them finish what they have and work no more.
	Halt(ctx context.Context) error
	// Publish makes one credential due while the workers work.
	Publish(ctx context.Context, account string) error
	// Held returns the refresh token that is stored for each account.
	Held(ctx context.Context) (map[string]string, error)
	// Self and Servers are the processes of the worker and of what it needs.
	Self() []int
	Servers() []int
	// Kill ends the worker with SIGKILL, and Restart starts it again as Go found it, working.
	Kill() error
	Restart(ctx context.Context) error
	// Close ends everything.
	Close() error
}
