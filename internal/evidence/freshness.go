package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
)

// FreshnessConfig describes the experiment about what readers get while processes are killed. Its zero value is the long form.
type FreshnessConfig struct {
	Programs Programs // zero: built anew
	Seed     uint64   // 0: a new one
	// Connections is how many accounts there are; default 10,000.
	Connections int
	// Life of an access token; default 60 s. It is renewed when a third is left, and up to a tenth earlier.
	Life time.Duration
	// Duration of the killing; default 10 min.
	Duration time.Duration
	// KillEvery is the time between two kills on average, half to one and a half of it; default 4 s.
	KillEvery time.Duration
	// Timeout of a token request; default 3 s.
	Timeout time.Duration
	// Latency of the provider; default 40 ms.
	Latency time.Duration
	// Ends makes the provider end a grant's access tokens when it is refreshed, at once. No reader can know in time.
	Ends bool
}

func (c FreshnessConfig) withDefaults() FreshnessConfig {
	c.Seed = seeded(c.Seed)
	c.Connections = cmp.Or(c.Connections, 10_000)
	c.Life = cmp.Or(c.Life, time.Minute)
	c.Duration = cmp.Or(c.Duration, 10*time.Minute)
	c.KillEvery = cmp.Or(c.KillEvery, 4*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 3*time.Second)
	c.Latency = cmp.Or(c.Latency, strictLatency)
	return c
}

// freshness is the experiment's place in the list.
func freshness() Experiment {
	return Experiment{
		Name: "freshness",
		Doc:  "10,000 connections with 60-second tokens are used for 10 minutes while processes are killed",
		Long: func(ctx context.Context, args []string, out io.Writer) error {
			fs, seed := newFlags("freshness", out)
			cfg := FreshnessConfig{}
			fs.IntVar(&cfg.Connections, "connections", 0, "accounts; 0: 10000")
			fs.DurationVar(&cfg.Life, "life", 0, "of an access token; 0: 1m")
			fs.DurationVar(&cfg.Duration, "duration", 0, "how long processes are killed; 0: 10m")
			fs.DurationVar(&cfg.KillEvery, "kill-every", 0, "time between two kills on average; 0: 4s")
			fs.DurationVar(&cfg.Latency, "latency", 0, "of the provider; 0: 40ms")
			fs.BoolVar(&cfg.Ends, "ends", false, "the provider ends the access tokens before at each refresh; some will be used, which is a failure")
			if err := fs.Parse(args); err != nil {
				return err
			}
			cfg.Seed = *seed
			return Freshness(ctx, cfg, out)
		},
	}
}

// Freshness has readers use tokens at a strict provider while all kinds of processes but the exchanger are killed.
func Freshness(ctx context.Context, cfg FreshnessConfig, out io.Writer) error {
	cfg = cfg.withDefaults()
	r := begin(ctx, out, "freshness", cfg.Seed)
	fc := fleet.Config{
		Auth: authserver.Config{
			Rotation: authserver.RotationStrict, Latency: cfg.Latency, RotationKillsAccess: cfg.Ends,
			AccessLifetime: cfg.Life, Lifetime: spreadOut(cfg.Life), Seed: cfg.Seed,
		},
	}
	fc.Refresh.MinLead = duration(cfg.Life / 3)
	fc.Limits.Concurrency, fc.Limits.Timeout = 1024, duration(cfg.Timeout)
	err := withPrograms(ctx, cfg.Programs, func(p Programs) error {
		return play(ctx, p, fc, func(s *stage) error {
			s.exchanger = true
			u := &usage{stage: s, cfg: cfg, kills: make(map[string]int), chance: rand.New(rand.NewPCG(cfg.Seed, 7))}
			err := u.perform(ctx)
			u.print(r)
			return err
		})
	})
	return r.end(err)
}

// usage is the experiment on its way.
type usage struct {
	*stage
	cfg     FreshnessConfig
	chance  *rand.Rand
	kills   map[string]int // by process
	verdict fleet.Verdict
	read    reading
}

// perform enrols while everybody is at work already: the first tokens would not wait.
func (u *usage) perform(ctx context.Context) error {
	working := castOf(u.stage, []string{natsName, exchangerName, "worker-1", "worker-2", "scheduler-1", "scheduler-2"})
	if err := errors.Join(working.enter(ctx), u.Enrol(ctx, u.cfg.Connections)); err != nil {
		return err
	}
	reading := castOf(u.stage, []string{"reader-1", "reader-2"})
	if err := reading.enter(ctx); err != nil {
		return err
	}
	victims := append(working.actors[2:], reading.actors...)
	victims = append(victims, working.actor(natsName))
	err := u.strike(ctx, victims)
	if err == nil {
		err = errors.Join(working.ready(ctx), u.reconnected(ctx), u.fresh(ctx))
	}
	u.read = reading.readings()
	err = errors.Join(err, reading.leave(ctx), working.leave(ctx))
	var failed error
	if u.verdict, failed = u.judged(ctx); failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, u.judge())
}

// strike kills one after the other for as long as it is to go on.
func (u *usage) strike(ctx context.Context, victims []*actor) error {
	for began := time.Now(); time.Since(began) < u.cfg.Duration; {
		if !pause(ctx, u.chance, u.cfg.KillEvery/2, u.cfg.KillEvery*3/2) {
			return ctx.Err()
		}
		a := victims[u.chance.IntN(len(victims))]
		if err := errors.Join(a.kill(), a.start(ctx)); err != nil {
			return err
		}
		u.kills[a.name]++
	}
	return nil
}

// fresh waits until every token is as good as if nothing had happened.
func (u *usage) fresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*u.cfg.Life)
	defer cancel()
	return errors.Join(u.catchUp(ctx), u.AwaitFresh(ctx, u.cfg.Life/6))
}

func (u *usage) judge() error {
	var errs []error
	if n := u.verdict.Ledger.Errors["invalid_token"]; n > 0 || u.read.Refused > 0 {
		errs = append(errs, fmt.Errorf("the resource refused %d access tokens, as readers count %d", n, u.read.Refused))
	}
	if u.verdict.Ledger.Requests["resource"] == 0 {
		errs = append(errs, errors.New("nobody has used an access token"))
	}
	return errors.Join(append(errs, u.verdict.Err())...)
}

func (u *usage) print(r *report) {
	l := u.verdict.Ledger
	r.line("connections", "%d at a strict provider, with exchanger; tokens live %v, killing for %v", u.cfg.Connections, u.cfg.Life, u.cfg.Duration)
	total := 0
	for _, n := range u.kills {
		total += n
	}
	r.line("kills", "%d: %s", total, counts(u.kills))
	r.line("ledger", "%d rotations, %d replayed, %d concurrent, %d last tries, lost %d",
		l.Rotations, l.Replayed, l.Concurrent, l.LastTries, len(u.verdict.Lost))
	r.line("own count", "%d versions in the records, %d heard; states %v", u.verdict.Versions, u.verdict.Heard.Events["token.updated"], u.verdict.States)
	r.line("at the resource", "%d access tokens presented, %d expired or revoked", l.Requests["resource"], l.Errors["invalid_token"])
	r.line("readers", "%v", u.read)
	r.line("margin", "%v", u.heard.renewals())
}
