package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// Variable is a token in the environment of a command.
type Variable struct {
	Name       string
	Credential string
}

// ParseVariable reads NAME=PROVIDER/ACCOUNT.
func ParseVariable(s string) (Variable, error) {
	name, id, ok := strings.Cut(s, "=")
	if !ok || !variable.MatchString(name) {
		return Variable{}, fmt.Errorf("%q: want NAME=PROVIDER/ACCOUNT", s)
	}
	_, err := events.ParseCredential(id)
	return Variable{Name: name, Credential: id}, err
}

// Exec runs a command with tokens in its environment. Args and Client are required.
type Exec struct {
	Args   []string
	Env    []Variable
	Client *tokens.Client
	// Agent, where set, keeps files beside the command: they are there before it starts, and are up to date before it hears of
	// a change; their credentials count as those of Env do.
	Agent *Agent
	// Signal is sent to the command after a change. Zero: it is ended and started again, with the new tokens.
	Signal syscall.Signal
	// KillAfter is how long a command may take to end after SIGTERM when it is started again; 0 means 10 s.
	KillAfter time.Duration
	// Settle is how long a change waits for others before the command hears of it, so that many at once are one; 0 means 1 s.
	Settle time.Duration
	// Terminal: the command is in the foreground of a terminal. It then stays in our own process group, or it could not read
	// from there. Otherwise it leads a group of its own, and signals that ask to end go to all in it: a shell passes none on.
	Terminal bool
	// Signals are forwarded to the command.
	Signals  <-chan os.Signal
	In       io.Reader
	Out, Err io.Writer
	Log      zerolog.Logger
	// Reads hears of the tokens in the environment; nil: nobody does.
	Reads *audit.Reads
}

// defaultSettle is short beside the life of any token.
const defaultSettle = time.Second

// ExitError is the end of a command that did not end well.
type ExitError struct {
	Code int // as a shell has it: 128 and the signal's number for a command that was killed
}

// Error implements error.
func (e *ExitError) Error() string { return fmt.Sprintf("the command ended with code %d", e.Code) }

// Run waits for the tokens, starts the command, and returns when it has ended by itself: nil, or an *ExitError. Ctx and wait
// bound the waiting only, whose errors are those of tokens.Client.Token; what a signal means is the command's own affair.
func (e Exec) Run(ctx context.Context, wait time.Duration) error {
	keep := &tray{order: e.credentials(), tokens: make(map[string]tokens.Token), news: make(chan struct{}, 1)}
	if err := e.fetch(ctx, keep, wait); err != nil {
		return err
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var group errgroup.Group
	for _, id := range keep.order {
		group.Go(func() error { return e.Client.OnChange(watch, id, e.told(watch, keep)) })
	}
	err := e.supervise(keep)
	stop()
	return errors.Join(err, group.Wait())
}

func (e Exec) credentials() (ids []string) {
	for _, v := range e.Env {
		ids = append(ids, v.Credential)
	}
	if e.Agent != nil {
		for _, f := range e.Agent.cfg.Files {
			ids = append(ids, f.Credential)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (e Exec) fetch(ctx context.Context, keep *tray, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for _, id := range keep.order {
		t, err := e.Client.Token(ctx, id)
		if err != nil {
			return err
		}
		if err := e.bring(ctx, t); err != nil {
			return err
		}
		keep.put(t)
	}
	return nil
}

// bring writes the files.
func (e Exec) bring(ctx context.Context, t tokens.Token) error {
	if e.Agent == nil {
		return nil
	}
	return e.Agent.bring(ctx, t)
}

func (e Exec) told(ctx context.Context, keep *tray) func(tokens.Change) {
	return func(c tokens.Change) {
		if c.Err != nil {
			e.Log.Warn().Err(c.Err).Msg("there is no newer token; the command keeps the last one")
		}
		if c.Token.AccessToken.IsZero() {
			return
		}
		if err := e.bring(ctx, c.Token); err != nil {
			e.Log.Error().Err(err).Msg("a file is not written; the command hears of the change all the same")
		}
		keep.put(c.Token)
	}
}

// tray has the newest tokens.
type tray struct {
	order []string      // of the credentials
	news  chan struct{} // there may be newer ones

	mu     sync.Mutex
	tokens map[string]tokens.Token // by credential
}

func (k *tray) put(t tokens.Token) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens[t.Credential.String()] = t
	select {
	case k.news <- struct{}{}:
	default:
	}
}

// environment returns the variables with their tokens, and which version of each credential they are.
func (k *tray) environment(vars []Variable) (env []string, state string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, v := range vars {
		env = append(env, v.Name+"="+k.tokens[v.Credential].AccessToken.Reveal())
	}
	for _, id := range k.order {
		state += fmt.Sprintf("%s %d %d,", id, k.tokens[id].Generation, k.tokens[id].Version)
	}
	return env, state
}

// count tells of the tokens that go into the environment.
func (k *tray) count(e Exec) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, v := range e.Env {
		t := k.tokens[v.Credential]
		e.Reads.Add(audit.Given{Credential: t.Credential, Token: t.AccessToken, Via: "environment", Caller: audit.Caller{Name: e.Args[0]}})
	}
}

// asksToEnd reports whether whoever sends a signal wants the command to end, and so no other in its place.
func asksToEnd(s os.Signal) bool {
	return s == syscall.SIGTERM || s == syscall.SIGINT || s == syscall.SIGQUIT
}

// supervise runs the command until it ends by itself, or because it was asked to. Changes that come close together are one.
func (e Exec) supervise(keep *tray) error {
	c, err := e.start(keep)
	if err != nil {
		return err
	}
	var settled <-chan time.Time // nil: nothing has changed
	for asked := false; ; {
		select {
		case err := <-c.over:
			return exitOf(err)
		case s := <-e.Signals:
			asked = asked || asksToEnd(s)
			c.signal(s) // one that has ended is seen above
		case <-keep.news:
			if _, state := keep.environment(nil); state != c.state && settled == nil {
				settled = time.After(cmp.Or(e.Settle, defaultSettle))
			}
		case <-settled:
			settled = nil
			next, err := e.changed(keep, c, asked)
			if next == nil {
				return err
			}
			c = next
		}
	}
}

// changed tells the command of new tokens, or starts it again, and returns what runs then; nil: nothing, and err is the end.
func (e Exec) changed(keep *tray, c *child, asked bool) (*child, error) {
	switch {
	case e.Signal != 0:
		_, c.state = keep.environment(nil)
		e.Log.Info().Msg("a token has changed: the command is told")
		c.signal(e.Signal)
		return c, nil
	case asked:
		e.Log.Info().Msg("a token has changed: the command was asked to end, and is left to it")
		return c, nil
	}
	e.Log.Info().Msg("a token has changed: the command is started again")
	if final, err := e.end(c); final {
		return nil, exitOf(err)
	}
	return e.start(keep)
}

// exitOf turns the end of a process into ours.
func exitOf(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &ExitError{Code: 128 + int(status.Signal())}
	}
	return &ExitError{Code: exit.ExitCode()}
}
