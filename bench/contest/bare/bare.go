// Package bare is the limit: a loop over golang.org/x/oauth2 that keeps the tokens in memory, stores nothing and tells nobody.
package bare

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/bench/refresher"
)

// Name is also that of its child process.
const Name = "bare"

// config goes to the child.
type config struct {
	TokenURL string
	AtOnce   int
}

// Bare is the contestant.
type Bare struct {
	env    contest.Env
	child  *host.Process
	n      int
	ctx    context.Context // ends the reading
	cancel context.CancelFunc
	rounds sync.WaitGroup
}

var _ contest.Contestant = (*Bare)(nil)

// Start starts it.
func Start(_ context.Context, env contest.Env) (*Bare, error) {
	cfg, err := json.Marshal(config{env.Auth.TokenURL(env.Endpoint), env.AtOnce})
	if err != nil {
		return nil, err
	}
	b := &Bare{env: env}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.child, err = env.Child(Name, string(cfg)).Start()
	return b, err
}

// Info implements contest.Contestant.
func (b *Bare) Info() contest.Info {
	return contest.Info{Name: Name, Durability: "stores nothing", Promise: "none: the limit"}
}

// Load gives the child its tokens.
func (b *Bare) Load(ctx context.Context, grants []authd.Grant) error {
	b.n += len(grants)
	tokens := make([]string, len(grants))
	for i, g := range grants {
		tokens[i] = g.RefreshToken
	}
	line, err := json.Marshal(tokens)
	if err != nil {
		return err
	}
	return b.child.Ask(ctx, string(line), "loaded")
}

// Fill has nothing to do: a loop refreshes what it has.
func (b *Bare) Fill(context.Context) error { return nil }

// Go lets the child refresh each token once.
func (b *Bare) Go(context.Context) error {
	if err := b.child.Say("go"); err != nil {
		return err
	}
	b.rounds.Go(func() {
		if b.child.Await(b.ctx, "done") != nil {
			return // the harness waits in vain and says so
		}
		for range b.n {
			b.env.Heard("")
		}
	})
	return nil
}

// Halt waits for the round.
func (b *Bare) Halt(context.Context) error {
	b.rounds.Wait()
	return nil
}

var errNo = errors.New("the bare loop has no such thing")

// Publish fails: there is no queue.
func (b *Bare) Publish(context.Context, string) error { return errNo }

// Held fails: there is no store.
func (b *Bare) Held(context.Context) (map[string]string, error) { return nil, errNo }

// Self is the child.
func (b *Bare) Self() []int { return []int{b.child.PID()} }

// Servers are none.
func (b *Bare) Servers() []int { return nil }

// Kill ends the child, and its tokens with it.
func (b *Bare) Kill() error { return b.child.Kill() }

// Restart fails.
func (b *Bare) Restart(context.Context) error { return errNo }

// Close ends the child.
func (b *Bare) Close() error {
	b.cancel()
	err := b.child.Kill()
	b.rounds.Wait()
	return err
}

// Child is what the child process does.
func Child(arg string, in io.Reader, out io.Writer) error {
	var cfg config
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	r := refresher.New(cfg.TokenURL, cfg.AtOnce)
	var tokens []string
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<30)
	for lines.Scan() {
		if lines.Text() == "go" {
			if err := round(r, tokens, cfg.AtOnce); err != nil {
				return err
			}
			fmt.Fprintln(out, "done")
			continue
		}
		var more []string
		if err := json.Unmarshal(lines.Bytes(), &more); err != nil {
			return err
		}
		tokens = append(tokens, more...)
		fmt.Fprintln(out, "loaded")
	}
	return lines.Err()
}

// round refreshes every token.
func round(r *refresher.Refresher, tokens []string, atOnce int) error {
	next, errs := make(chan int), make([]error, atOnce)
	var wg sync.WaitGroup
	for hand := range atOnce {
		wg.Go(func() {
			for i := range next {
				t, err := r.Refresh(tokens[i])
				if err != nil {
					errs[hand] = err
					continue
				}
				tokens[i] = t.RefreshToken
			}
		})
	}
	for i := range tokens {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}
