package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/provider"
)

// StormConfig shapes the storm of duplicates. The zero value is the long form.
type StormConfig struct {
	Seed        uint64        // 0: a new one
	Credentials int           // 0: 300
	Duration    time.Duration // of the storm; 0: 3 minutes
	// Mistake is what the workers are made to do wrong (FRESHET_MISTAKE); empty: nothing.
	Mistake string
	// Programs were built with the tag freshet_faults if there is a Mistake; zero: they are built.
	Programs Programs
}

func (c StormConfig) withDefaults() StormConfig {
	c.Seed, c.Credentials, c.Duration = seeded(c.Seed), cmp.Or(c.Credentials, 300), cmp.Or(c.Duration, 3*time.Minute)
	return c
}

// stormTimeout is a token request's deadline in the storm. No freeze lasts that long: what is answered is heard.
const stormTimeout = 4 * time.Second

// storm gives the experiment its name.
func storm() Experiment {
	return Experiment{
		Name: "storm",
		Doc:  "three schedulers, jobs delivered twice, acks lost and late, workers frozen: one presentation per refresh token",
		Long: func(ctx context.Context, args []string, out io.Writer) error {
			var cfg StormConfig
			fs, seed := newFlags("storm", out)
			fs.IntVar(&cfg.Credentials, "credentials", 0, "how many; 0: 300")
			fs.DurationVar(&cfg.Duration, "duration", 0, "of the storm; 0: 3m")
			if err := fs.Parse(args); err != nil {
				return err
			}
			cfg.Seed = *seed
			return Storm(ctx, cfg, out)
		},
	}
}

// Storm runs three schedulers and four workers whose acks go through a proxy that loses, delays and reverses them, and which
// hands jobs back behind the back of the worker that is at them. Workers and schedulers are frozen and woken. The provider is
// strict and does nothing wrong, so every refresh token must come to it exactly once.
func Storm(ctx context.Context, cfg StormConfig, out io.Writer) error {
	cfg = cfg.withDefaults()
	r := begin(ctx, out, "storm of duplicates", cfg.Seed)
	return r.end(withPrograms(ctx, cfg.Programs, func(p Programs) error {
		const life = 24 * time.Second
		return play(ctx, p, fleet.Config{
			Auth: authserver.Config{
				Rotation: authserver.RotationStrict, AccessLifetime: life, Lifetime: spreadOut(life), Latency: 100 * time.Millisecond,
			},
			Refresh: provider.Refresh{MinLead: provider.Duration(life / 2)},
			Limits:  provider.Limits{Concurrency: 64, Timeout: provider.Duration(stormTimeout)},
		}, func(s *stage) error { return cfg.run(ctx, s, r) })
	}))
}

// storming is what runs in a storm.
type storming struct {
	*stage
	proxy               *ackProxy
	schedulers, workers []*fleet.Process
	freezes             int
}

func (c StormConfig) run(ctx context.Context, s *stage, r *report) error {
	s.mistaken(c.Mistake)
	proxy, err := newAckProxy(s.NATS.URL(), c.Seed)
	if err != nil {
		return err
	}
	defer proxy.close()
	st := &storming{stage: s, proxy: proxy}
	if err := errors.Join(s.Enrol(ctx, c.Credentials), st.start(ctx)); err != nil {
		return err
	}
	if err := st.blow(ctx, c); err != nil {
		return err
	}
	proxy.calm()
	if c.Mistake == "" { // else there may be grants that nobody renews any more
		if err := st.renewed(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(s.end(ctx, st.schedulers...), s.end(ctx, st.workers...)); err != nil {
		return err
	}
	v, err := s.judged(ctx)
	if err != nil {
		return err
	}
	st.print(r, v)
	return errors.Join(v.Err(), presentedOnce(v))
}

// renewed waits until everybody has been renewed once more.
func (st *storming) renewed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return st.AwaitRenewals(ctx, 1)
}

// presentedOnce wants as many presentations as there are new versions.
func presentedOnce(v fleet.Verdict) error {
	l := v.Ledger
	if asked, renewed := l.Requests["token"], int64(v.Versions-v.Enrolled); asked != renewed || l.Rotations != renewed || l.LastTries+l.Reused > 0 {
		return fmt.Errorf("%d token requests, %d rotations, %d reused and %d last tries for %d new versions", asked, l.Rotations, l.Reused, l.LastTries, renewed)
	}
	return nil
}

// start starts everybody; the workers' way to NATS is the proxy.
func (st *storming) start(ctx context.Context) error {
	for i := range 4 {
		name := fmt.Sprintf("worker-%d", i+1)
		c := st.NATS.As(fleet.RoleWorker, fleet.Command{Name: name, Path: st.programs.Worker, Env: st.env, Args: []string{
			"--name", name, "--state-dir", filepath.Join(st.dir, "state", name), "--log-level", "info",
			"--grant-keyset", st.Keysets.Grant, "--access-keyset", st.Keysets.Access,
		}})
		c.Env = append(c.Env, "NATS_URL="+st.proxy.url())
		w, err := st.Launch(c)
		if err != nil {
			return err
		}
		st.workers = append(st.workers, w)
		if err := w.Await(ctx, "worker started", 1); err != nil {
			return err
		}
	}
	for i := range 3 {
		p, err := st.schedulerProcess(fmt.Sprintf("scheduler-%d", i+1))
		if err != nil {
			return err
		}
		st.schedulers = append(st.schedulers, p)
	}
	return nil
}

// blow freezes and wakes processes for as long as the storm lasts, and asks for tokens that nobody needs.
func (st *storming) blow(ctx context.Context, cfg StormConfig) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.Duration)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error { st.demand(ctx, 20); return nil })
	g.Go(func() error { return st.freeze(ctx, rand.New(rand.NewPCG(cfg.Seed, 5))) })
	return g.Wait()
}

func (st *storming) freeze(ctx context.Context, chance *rand.Rand) error {
	all := append(append([]*fleet.Process{}, st.workers...), st.schedulers...)
	for ctx.Err() == nil {
		p := all[chance.IntN(len(all))]
		if err := p.Freeze(); err != nil {
			return err
		}
		rest(ctx, time.Duration(chance.Int64N(int64(stormTimeout/2))))
		if err := p.Thaw(); err != nil {
			return err
		}
		st.freezes++
		rest(ctx, time.Duration(chance.Int64N(int64(300*time.Millisecond))))
	}
	return nil
}

// rest waits, at most until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (st *storming) print(r *report, v fleet.Verdict) {
	r.line("storm", "%s; %d freezes of up to %s", st.proxy.counts(), st.freezes, stormTimeout/2)
	r.line("authorization server", "%d token requests, %d rotations, %d reused, %d replayed, %d concurrent, %d last tries, %d lost",
		v.Ledger.Requests["token"], v.Ledger.Rotations, v.Ledger.Reused, v.Ledger.Replayed, v.Ledger.Concurrent, v.Ledger.LastTries, len(v.Lost))
	r.line("records", "%d credentials, %d new versions, states %v", v.Enrolled, v.Versions-v.Enrolled, v.States)
}
