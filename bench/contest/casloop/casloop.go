// Package casloop is what JetStream itself can do: compare-and-set writes of values as large as a record, so many at once
// and each waited for, by a process over loopback. Freshet needs two for each refresh, the claim and the commit.
package casloop

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/internal/fleet"
)

// Name is also that of its child process.
const Name = "jetstream"

// recordBytes is about what a record takes.
const recordBytes = 1024

// config goes to the child.
type config struct {
	URL    string
	AtOnce int
}

// Loop is the contestant.
type Loop struct {
	name    string
	syncAll bool
	env     contest.Env
	nats    *fleet.NATS
	child   *host.Process
	n       int
	ctx     context.Context // ends the reading
	cancel  context.CancelFunc
	rounds  sync.WaitGroup
}

var _ contest.Contestant = (*Loop)(nil)

// Start starts nats-server and the loop.
func Start(ctx context.Context, env contest.Env, name string, syncAll bool) (*Loop, error) {
	l := &Loop{name: name, syncAll: syncAll, env: env}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	cfg := fleet.NATSConfig{Binary: env.Programs.NATSServer, Dir: env.Dir}
	if syncAll {
		cfg.ConfigFile = filepath.Join(env.Dir, "nats.conf")
		if err := os.WriteFile(cfg.ConfigFile, []byte("jetstream { sync_interval: always }\n"), 0o600); err != nil {
			return nil, err
		}
	}
	var err error
	if l.nats, err = fleet.StartNATS(ctx, cfg); err != nil {
		return nil, err
	}
	arg, err := json.Marshal(config{l.nats.URL(), env.AtOnce})
	if err == nil {
		l.child, err = env.Child(Name, string(arg)).Start()
	}
	if err != nil {
		return nil, errors.Join(err, l.nats.Kill())
	}
	return l, nil
}

// Info implements contest.Contestant.
func (l *Loop) Info() contest.Info {
	i := contest.Info{Name: l.name, Durability: "write before ack, fsync every 2 min", Promise: "CAS writes alone, no refresh"}
	if l.syncAll {
		i.Durability = "fsync on every write"
	}
	return i
}

// Load makes as many values as there are grants.
func (l *Loop) Load(ctx context.Context, grants []authd.Grant) error {
	l.n = len(grants)
	return l.child.Ask(ctx, fmt.Sprint(l.n), "loaded")
}

// Fill has nothing to do.
func (l *Loop) Fill(context.Context) error { return nil }

// Go replaces each value once.
func (l *Loop) Go(context.Context) error {
	if err := l.child.Say("go"); err != nil {
		return err
	}
	l.rounds.Go(func() {
		if l.child.Await(l.ctx, "done") != nil {
			return // the harness waits in vain and says so
		}
		for range l.n {
			l.env.Heard("")
		}
	})
	return nil
}

// Halt waits for the round.
func (l *Loop) Halt(context.Context) error {
	l.rounds.Wait()
	return nil
}

var errNo = errors.New("the loop of writes has no such thing")

// Publish fails.
func (l *Loop) Publish(context.Context, string) error { return errNo }

// Held fails.
func (l *Loop) Held(context.Context) (map[string]string, error) { return nil, errNo }

// Self is the writing process.
func (l *Loop) Self() []int { return []int{l.child.PID()} }

// Servers is nats-server.
func (l *Loop) Servers() []int { return []int{l.nats.Process.ID()} }

// Kill ends the writing process.
func (l *Loop) Kill() error { return l.child.Kill() }

// Restart fails.
func (l *Loop) Restart(context.Context) error { return errNo }

// Close ends everything.
func (l *Loop) Close() error {
	l.cancel()
	err := l.child.Kill()
	l.rounds.Wait()
	return errors.Join(err, l.nats.Kill())
}

// Child is what the writing process does.
func Child(arg string, in io.Reader, out io.Writer) error {
	var cfg config
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	nc, err := nats.Connect(cfg.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	kv, err := js.CreateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: "values", History: 1, Storage: jetstream.FileStorage})
	if err != nil {
		return err
	}
	w := &writer{kv: kv, atOnce: cfg.AtOnce, value: make([]byte, recordBytes)}
	_, _ = rand.Read(w.value) // never fails
	for lines := bufio.NewScanner(in); lines.Scan(); {
		answer := "done"
		if lines.Text() != "go" {
			var n int
			if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
				return err
			}
			w.revisions, answer = make([]uint64, n), "loaded"
		}
		if err := w.round(); err != nil {
			return err
		}
		fmt.Fprintln(out, answer)
	}
	return nil
}

// writer writes values. Each hand has keys of its own.
type writer struct {
	kv        jetstream.KeyValue
	atOnce    int
	value     []byte
	revisions []uint64
}

// round replaces each value.
func (w *writer) round() error {
	errs := make([]error, w.atOnce)
	var wg sync.WaitGroup
	for hand := range w.atOnce {
		wg.Go(func() {
			for i := hand; i < len(w.revisions) && errs[hand] == nil; i += w.atOnce {
				w.revisions[i], errs[hand] = w.kv.Update(context.Background(), fmt.Sprintf("acme.user-%07d", i), w.value, w.revisions[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
