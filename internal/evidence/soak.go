package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// SoakConfig describes the experiment that goes on for long. Its zero value is the long form.
type SoakConfig struct {
	Programs Programs // zero: built anew
	Seed     uint64   // 0: a new one
	// Rotations is how many it goes on for; default a million.
	Rotations int
	// AtMost ends it earlier; default 45 minutes.
	AtMost time.Duration
	// Every is the time between two samples; default 30 s.
	Every time.Duration
	// Credentials is how many accounts there are; default 10,000.
	Credentials int
	// Life of an access token; default 10 s. It is renewed when a little less than half of it has passed, if the machine keeps up.
	Life time.Duration
	// Step hears of each step of the worker in this process, for a test that lets it leak. Optional.
	Step func(refresh.Step)
}

func (c SoakConfig) withDefaults() SoakConfig {
	c.Seed = seeded(c.Seed)
	c.Rotations = cmp.Or(c.Rotations, 1_000_000)
	c.AtMost = cmp.Or(c.AtMost, 45*time.Minute)
	c.Every = cmp.Or(c.Every, 30*time.Second)
	c.Credentials = cmp.Or(c.Credentials, 10_000)
	c.Life = cmp.Or(c.Life, 10*time.Second)
	return c
}

// soak is the experiment's place in the list.
func soak() Experiment {
	return Experiment{
		Name: "soak",
		Doc:  "a million rotations: memory, goroutines, journals and bucket stay as they are",
		Long: func(ctx context.Context, args []string, out io.Writer) error {
			fs, seed := newFlags("soak", out)
			cfg := SoakConfig{}
			fs.IntVar(&cfg.Rotations, "rotations", 0, "how many to go on for; 0: 1000000")
			fs.DurationVar(&cfg.AtMost, "at-most", 0, "when to end all the same; 0: 45m")
			fs.DurationVar(&cfg.Every, "every", 0, "time between two samples; 0: 30s")
			fs.IntVar(&cfg.Credentials, "credentials", 0, "accounts; 0: 10000")
			fs.DurationVar(&cfg.Life, "life", 0, "life of an access token; 0: 10s")
			if err := fs.Parse(args); err != nil {
				return err
			}
			cfg.Seed = *seed
			return Soak(ctx, cfg, out)
		},
	}
}

// Soak lets two workers and two schedulers work, one of each as a process and one of each in this one, whose goroutines can
// be counted, at a nats-server with its defaults. It samples what must not grow, and fails when it did.
func Soak(ctx context.Context, cfg SoakConfig, out io.Writer) error {
	cfg = cfg.withDefaults()
	r := begin(ctx, out, "soak", cfg.Seed)
	err := withPrograms(ctx, cfg.Programs, func(p Programs) error {
		before := runtime.NumGoroutine()
		if err := soakWith(ctx, cfg, p, r); err != nil {
			return err
		}
		return goroutinesEnd(ctx, before, r)
	})
	return r.end(err)
}

// goroutinesEnd wants all goroutines to end that have begun since.
func goroutinesEnd(ctx context.Context, before int, r *report) error {
	const within = 10 * time.Second
	for end := time.Now().Add(within); ; {
		now := runtime.NumGoroutine()
		if now <= before {
			r.line("goroutines", "%d before, %d after", before, now)
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d goroutines before and %d after everybody had ended", before, now)
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// soakConcurrency is how many token requests are under way at once, at most. A few goroutines belong to each, so their
// number goes up and down with it.
const soakConcurrency = 32

func soakWith(ctx context.Context, cfg SoakConfig, p Programs, r *report) (err error) {
	dir, err := os.MkdirTemp("", "freshet-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fc := fleet.Config{
		Dir: dir, Binaries: p.Binaries,
		Setup: []string{"--events-max-age", "10m"}, // no shorter than what the stream remembers ids for
		Auth: authserver.Config{
			Rotation: authserver.RotationStrict, Seed: cfg.Seed, AccessLifetime: cfg.Life, Lifetime: spreadOut(cfg.Life),
		},
	}
	fc.Limits.Concurrency = soakConcurrency
	f, err := fleet.Start(ctx, fc)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Enrol(ctx, cfg.Credentials); err != nil {
		return err
	}
	s := &soaking{Fleet: f, cfg: cfg, dir: dir, series: soakSeries()}
	r.line("soak", "strict provider, %d accounts, tokens live %v, 2 workers, 2 schedulers, one of each in this process", cfg.Credentials, cfg.Life)
	if err := s.work(ctx, r); err != nil {
		return err
	}
	return s.judge(ctx, r)
}

// soaking is the experiment on its way.
type soaking struct {
	*fleet.Fleet
	cfg    SoakConfig
	dir    string
	worker *fleet.Process
	sched  *fleet.Process
	began  time.Time
	series []*series
}

// work starts everybody, samples until there were enough rotations, and ends everybody.
func (s *soaking) work(ctx context.Context, r *report) (err error) {
	inside, stop := context.WithCancel(ctx)
	g, inside := errgroup.WithContext(inside)
	defer func() {
		stop()
		err = errors.Join(err, g.Wait())
	}()
	if s.worker, err = s.Worker("worker-1", "--log-level", "info"); err != nil {
		return err
	}
	if s.sched, err = s.Scheduler("scheduler-1", "--log-level", "info"); err != nil {
		return err
	}
	if err := errors.Join(s.worker.Await(ctx, "worker started", 1), s.sched.Await(ctx, "index is complete", 1)); err != nil {
		return err
	}
	if err := s.inside(inside, g); err != nil {
		return err
	}
	if err := s.sample(inside, r); err != nil {
		return err
	}
	for _, p := range []*fleet.Process{s.sched, s.worker} {
		if code, err := p.Stop(ctx); err != nil || code != 0 {
			return errors.Join(err, fmt.Errorf("%s ended with exit code %d: %s", p.Name, code, p.Log.Tail(3)))
		}
	}
	return nil
}

// inside starts a worker and a scheduler in this process.
func (s *soaking) inside(ctx context.Context, g *errgroup.Group) error {
	grant, access, err := s.Keysets.Load()
	if err != nil {
		return err
	}
	for name, run := range map[string]func(*nats.Conn) error{
		fleet.RoleWorker: func(nc *nats.Conn) error {
			return app.RunWorker(ctx, app.WorkerConfig{
				Name: "worker-2", Conn: nc, Grant: grant, Access: access, StateDir: s.state("worker-2"), Step: s.cfg.Step,
			})
		},
		fleet.RoleScheduler: func(nc *nats.Conn) error {
			return app.RunScheduler(ctx, app.SchedulerConfig{Name: "scheduler-2", Conn: nc})
		},
	} {
		nc, err := s.NATS.Connect(name, app.ConnectOptions(zerolog.Nop())...)
		if err != nil {
			return err
		}
		g.Go(func() error {
			defer nc.Close()
			return run(nc)
		})
	}
	return nil
}

func (s *soaking) state(worker string) string { return filepath.Join(s.dir, "state", worker) }

// sample looks again and again until there were enough rotations, or there is no more time.
func (s *soaking) sample(ctx context.Context, r *report) error {
	s.began = time.Now()
	r.line("", "%s", sampleHead(s.series))
	for last := int64(0); ; {
		if err := wait(ctx, s.cfg.Every); err != nil {
			return err
		}
		at, rotations := time.Since(s.began), s.Auth.Ledger().Rotations
		if err := s.look(ctx, at); err != nil {
			return err
		}
		r.line("", "%s", sampleLine(at, rotations, float64(rotations-last)/s.cfg.Every.Seconds(), s.series))
		last = rotations
		if rotations >= int64(s.cfg.Rotations) || at >= s.cfg.AtMost {
			return nil
		}
	}
}

// judge says what grew, and which guarantee did not hold.
func (s *soaking) judge(ctx context.Context, r *report) error {
	v, err := s.Verdict(ctx)
	if err != nil {
		return err
	}
	l := v.Ledger
	r.line("reached", "%d of %d rotations in %v, %.0f a second", l.Rotations, s.cfg.Rotations,
		time.Since(s.began).Round(time.Second), float64(l.Rotations)/time.Since(s.began).Seconds())
	r.line("ledger", "%d replayed, %d concurrent, %d last tries, %d revoked, %d abandoned; lost %d",
		l.Replayed, l.Concurrent, l.LastTries, l.Revoked, l.Abandoned, len(v.Lost))
	r.line("own count", "%d versions in the records, %d heard; states %v", v.Versions, v.Heard.Events["token.updated"], v.States)
	errs := []error{v.Err()}
	for _, of := range s.series {
		text, err := of.judge()
		r.line(of.name, "%s", text)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
