package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
)

// AwayConfig describes the experiment in which NATS is away, or a part of it. Its zero value is the long form.
type AwayConfig struct {
	Programs Programs // zero: built anew
	Seed     uint64   // 0: a new one
	// Parts names the parts to run; empty: all. See AwayParts.
	Parts []string
	// Away is how long the one server is away; default 10 minutes. Where it is frozen instead of killed, a fifth of that.
	Away time.Duration
	// Harms is how often something is done to the cluster; default 60.
	Harms int
	// Credentials is how many accounts there are; default 1,000 at one server, a fifth of that at the cluster.
	Credentials int
	// Life of an access token; default 60 s, a third of that at the cluster.
	Life time.Duration
	// Timeout of a token request; default 2 s. Claims and the patience of a worker follow from it.
	Timeout time.Duration
	// Within is how long after NATS's return every reply in hand must be committed, and then everybody be fresh; default a
	// minute.
	Within time.Duration
	// Mistake is what the workers are told to do wrong (FRESHET_MISTAKE); the programs must be built for it.
	Mistake string
}

func (c AwayConfig) withDefaults() AwayConfig {
	c.Seed = seeded(c.Seed)
	c.Away = cmp.Or(c.Away, 10*time.Minute)
	c.Harms = cmp.Or(c.Harms, 60)
	c.Credentials = cmp.Or(c.Credentials, 1_000)
	c.Life = cmp.Or(c.Life, time.Minute)
	c.Timeout = cmp.Or(c.Timeout, 2*time.Second)
	c.Within = cmp.Or(c.Within, time.Minute)
	return c
}

// away is the experiment's place in the list.
func away() Experiment {
	return Experiment{
		Name: "away",
		Doc:  "NATS is away for ten minutes under load; a cluster loses its leader and falls apart again and again",
		Long: func(ctx context.Context, args []string, out io.Writer) error {
			fs, seed := newFlags("away", out)
			cfg := AwayConfig{}
			partsFlag(fs, &cfg.Parts, AwayParts())
			fs.DurationVar(&cfg.Away, "away", 0, "how long the one server is away; 0: 10m")
			fs.IntVar(&cfg.Harms, "harms", 0, "how often something is done to the cluster; 0: 60")
			fs.IntVar(&cfg.Credentials, "credentials", 0, "accounts at one server; 0: 1000")
			fs.DurationVar(&cfg.Life, "life", 0, "life of an access token; 0: 1m")
			if err := fs.Parse(args); err != nil {
				return err
			}
			cfg.Seed = *seed
			return Away(ctx, cfg, out)
		},
	}
}

// awayPart is in which way NATS is away.
type awayPart struct {
	name  string
	nodes int // nats-servers
	run   func(*absence, context.Context) error
}

func awayParts() []awayPart {
	return []awayPart{
		{"killed", 1, (*absence).killed},
		{"frozen", 1, (*absence).frozen},
		{"cluster", 3, (*absence).harmed},
	}
}

// AwayParts returns the names of all parts. In killed the only nats-server is killed and stays away, in frozen it is stopped
// where it is, so that connections stand and nobody answers. In cluster there are three, each asset is on all of them, and
// one after the other is killed, frozen, cut off, or made to give up its leadership, or all of them are kept apart.
func AwayParts() []string {
	var names []string
	for _, p := range awayParts() {
		names = append(names, p.name)
	}
	return names
}

// Away runs the parts one after the other, each with a fleet of its own: a strict provider, two workers, two schedulers.
func Away(ctx context.Context, cfg AwayConfig, out io.Writer) error {
	cfg = cfg.withDefaults()
	r := begin(ctx, out, "away", cfg.Seed)
	err := withPrograms(ctx, cfg.Programs, func(p Programs) error {
		cfg.Programs = p
		var errs []error
		for _, part := range awayParts() {
			if len(cfg.Parts) > 0 && !slices.Contains(cfg.Parts, part.name) {
				continue
			}
			if err := awayOne(ctx, cfg, part, r); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", part.name, err))
			}
		}
		return errors.Join(errs...)
	})
	return r.end(err)
}

// awayLatency is how long the provider takes: long enough for many requests to be under way at once.
const awayLatency = 300 * time.Millisecond

func awayOne(ctx context.Context, cfg AwayConfig, part awayPart, r *report) error {
	if part.nodes > 1 {
		cfg.Credentials, cfg.Life = max(cfg.Credentials/5, 1), cfg.Life/3
		var forget func()
		var err error
		if cfg.Programs.NATSConfig, forget, err = configWithMonitor(cfg.Programs.NATSConfig); err != nil {
			return err
		}
		defer forget()
	}
	fc := fleet.Config{Nodes: part.nodes, Auth: authserver.Config{
		Rotation: authserver.RotationStrict, Latency: awayLatency, Seed: cfg.Seed,
		AccessLifetime: cfg.Life, Lifetime: spreadOut(cfg.Life),
	}}
	fc.Limits.Concurrency, fc.Limits.Timeout = 64, duration(cfg.Timeout)
	fc.Refresh.MinLead = duration(cfg.Life / 3)
	return play(ctx, cfg.Programs, fc, func(s *stage) error {
		if cfg.Mistake != "" {
			s.env = []string{"FRESHET_MISTAKE=" + cfg.Mistake}
		}
		a := &absence{
			stage: s, cfg: cfg, part: part, began: time.Now(), chance: rand.New(rand.NewPCG(cfg.Seed, 6)),
			cast: castOf(s, []string{"worker-1", "worker-2", "scheduler-1", "scheduler-2"}), harms: make(map[string]int),
		}
		err := a.perform(ctx)
		a.print(r)
		return err
	})
}

// absence is one part on its way.
type absence struct {
	*stage
	cfg    AwayConfig
	part   awayPart
	cast   *cast
	chance *rand.Rand
	began  time.Time

	enrolled uint64         // messages in the stream of records before anybody worked
	harms    map[string]int // by kind
	after    int64          // token requests that came when NATS was away already: their claims stood
	without  int64          // token requests that came when nobody could claim
	inHand   int            // replies that no record had while NATS was away
	kept     time.Duration  // how long after NATS's return the last of them was in its record
	fresh    time.Duration  // how long after NATS's return everybody was fresh
	writes   uint64         // to the records
	verdict  fleet.Verdict
}

func (a *absence) print(r *report) {
	l := a.verdict.Ledger
	r.line(a.part.name, "strict provider, %d accounts, tokens live %v, 2 workers, 2 schedulers, %v",
		len(a.Accounts()), a.cfg.Life, time.Since(a.began).Round(time.Second))
	if a.part.nodes > 1 {
		r.line("", "%d nats-servers, harmed: %s", a.part.nodes, counts(a.harms))
	} else {
		r.line("", "away for %v; token requests: %d from claims that stood, then %d", a.awayFor(), a.after, a.without)
		r.line("", "replies in hand: %d, the last one committed %v after the return", a.inHand, a.kept.Round(time.Millisecond))
	}
	r.line("", "everybody fresh %v after the return", a.fresh.Round(time.Millisecond))
	r.line("", "ledger: %d requests, %d rotations, %d replayed, %d concurrent, %d last tries, %d revoked, %d abandoned; lost %d",
		l.Requests["token"], l.Rotations, l.Replayed, l.Concurrent, l.LastTries, l.Revoked, l.Abandoned, len(a.verdict.Lost))
	r.line("", "own count: %d versions in the records, %d heard; %d writes of records, %d beside claims and commits; states %v",
		a.verdict.Versions, a.verdict.Heard.Events["token.updated"], a.writes, a.spare(), a.verdict.States)
	r.line("", "margin: %v", a.heard.renewals())
}
