package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
)

// KillConfig describes the experiment in which processes are killed at random. Its zero value is the long form.
type KillConfig struct {
	Programs Programs // zero: built anew
	Seed     uint64   // 0: a new one
	// Parts names the parts to run; empty: all. See KillParts.
	Parts []string
	// Rotations is how many each part that must lose nothing goes on for; default 10,000.
	Rotations int
	// Kills is how many each part that may lose something goes on for; default 200. The part "reply" has a tenth.
	Kills int
	// Credentials is how many accounts there are; default 800.
	Credentials int
	// Mistake is what the workers are told to do wrong (FRESHET_MISTAKE); the programs must be built for it.
	Mistake string
}

func (c KillConfig) withDefaults() KillConfig {
	c.Seed = seeded(c.Seed)
	c.Rotations = cmp.Or(c.Rotations, 10_000)
	c.Kills = cmp.Or(c.Kills, 200)
	c.Credentials = cmp.Or(c.Credentials, 800)
	return c
}

// kill is the experiment's place in the list.
func kill() Experiment {
	return Experiment{
		Name: "kill",
		Doc:  "worker, scheduler, nats-server, reader, exchanger and all of them are killed every 150 to 450 ms",
		Long: func(ctx context.Context, args []string, out io.Writer) error {
			fs, seed := newFlags("kill", out)
			cfg := KillConfig{}
			partsFlag(fs, &cfg.Parts, KillParts())
			fs.IntVar(&cfg.Rotations, "rotations", 0, "rotations in each part that must lose nothing; 0: 10000")
			fs.IntVar(&cfg.Kills, "kills", 0, "kills in each part that may lose something; 0: 200")
			fs.IntVar(&cfg.Credentials, "credentials", 0, "accounts; 0: 800")
			if err := fs.Parse(args); err != nil {
				return err
			}
			cfg.Seed = *seed
			return Kill(ctx, cfg, out)
		},
	}
}

// killPart is who is killed, and at what kind of provider.
type killPart struct {
	name      string
	rotation  authserver.Rotation
	exchanger bool
	victims   []string // names of processes; see cast
	// loses: the design admits a loss, of what is under way at a kill. Tokens are then long-lived and renewals demanded, so
	// that nothing comes to its end before it is judged.
	loses bool
	// demands: the same supply of renewals where nothing may be lost.
	demands bool
	// slower stretches the time between two kills; 0: the part has a way of its own.
	slower  int
	latency time.Duration // of the provider
	timeout time.Duration // of a token request
	run     func(*killing, context.Context) error
}

// cast names a worker, a scheduler, nats-server, and whom the part kills, in the order of entering.
func (p killPart) cast() []string {
	names := []string{natsName, "worker-1", "scheduler-1"}
	if p.exchanger {
		names = slices.Insert(names, 1, exchangerName)
	}
	for _, v := range p.victims {
		if !slices.Contains(names, v) {
			names = append(names, v)
		}
	}
	return names
}

// pace says how often processes are killed.
func (p killPart) pace() string {
	if p.slower == 0 {
		return "the worker while nats-server is dead"
	}
	from, to := p.between()
	return fmt.Sprintf("every %v to %v", from, to)
}

// between bounds the time between two kills.
func (p killPart) between() (from, to time.Duration) {
	n := int64(p.slower)
	return time.Duration(n * int64(killAfter)), time.Duration(n * int64(killUntil))
}

// strictLatency is how long a provider takes in most parts: long enough to be hit, as usual as any.
const strictLatency = 40 * time.Millisecond

func killParts() []killPart {
	zero := func(name string, victims ...string) killPart {
		return killPart{
			name: name, rotation: authserver.RotationStrict, exchanger: true, victims: victims,
			slower: 1, latency: strictLatency, timeout: 2 * time.Second, run: (*killing).untilRotated,
		}
	}
	lossy := func(name string, exchanger bool, victims ...string) killPart {
		p := zero(name, victims...)
		p.exchanger, p.loses, p.run = exchanger, true, (*killing).untilKilled
		return p
	}
	grace := zero("grace", "worker-1")
	grace.rotation, grace.exchanger, grace.demands = authserver.RotationGrace, false, true
	// Four tries fit into the grace after three deaths in a row. Each is short, so that four deaths in a row do not happen.
	grace.timeout, grace.latency = time.Second, 10*time.Millisecond
	reply := lossy("reply", false, "worker-1")
	reply.loses, reply.demands, reply.slower, reply.run = false, true, 0, (*killing).withRepliesInHand
	nats := zero("nats", natsName)
	nats.slower = 10 // clients call again after 0.25 to 1.25 s, so that at the usual pace hardly any would get through
	return []killPart{
		zero("worker", "worker-1"),
		zero("scheduler", "scheduler-1"),
		nats,
		zero("reader", "reader-1"),
		zero("mixed", "worker-1", "worker-2", "scheduler-1", "scheduler-2", natsName, "reader-1"),
		lossy("exchanger", true, exchangerName),
		lossy("bare", false, "worker-1"),
		grace,
		reply,
	}
}

// KillParts returns the names of all parts. In worker, scheduler, nats, reader and mixed these are killed at a strict
// provider, and the workers use an exchanger. In exchanger it is the exchanger that is killed. In bare there is none and
// the worker is killed at a strict provider, in grace at one that takes a spent refresh token for another 30 s. In reply the
// worker is killed while it has replies that NATS was not there to take.
func KillParts() []string {
	var names []string
	for _, p := range killParts() {
		names = append(names, p.name)
	}
	return names
}

// Kill runs the parts one after the other, each with a fleet of its own, and prints a line for each.
func Kill(ctx context.Context, cfg KillConfig, out io.Writer) error {
	cfg = cfg.withDefaults()
	r := begin(ctx, out, "kill", cfg.Seed)
	err := withPrograms(ctx, cfg.Programs, func(p Programs) error {
		cfg.Programs = p
		var errs []error
		for _, part := range killParts() {
			if len(cfg.Parts) > 0 && !slices.Contains(cfg.Parts, part.name) {
				continue
			}
			if err := killOne(ctx, cfg, part, r); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", part.name, err))
			}
		}
		return errors.Join(errs...)
	})
	return r.end(err)
}

// The lives of access tokens: short where the scheduler is to have them renewed again and again.
const (
	shortLife = 20 * time.Second
	shortLead = 9 * time.Second
)

func killOne(ctx context.Context, cfg KillConfig, part killPart, r *report) error {
	fc := fleet.Config{
		Auth: authserver.Config{Rotation: part.rotation, Latency: part.latency, AccessLifetime: time.Hour, Seed: cfg.Seed},
	}
	fc.Limits.Concurrency, fc.Limits.Timeout = cfg.Credentials, duration(part.timeout)
	if !part.loses && !part.demands {
		fc.Auth.AccessLifetime, fc.Auth.Lifetime = shortLife, spreadOut(shortLife)
		fc.Refresh.MinLead = duration(shortLead)
	}
	return play(ctx, cfg.Programs, fc, func(s *stage) error {
		s.exchanger = part.exchanger
		s.mistaken(cfg.Mistake)
		if err := s.Enrol(ctx, cfg.Credentials); err != nil {
			return err
		}
		k := &killing{
			stage: s, cfg: cfg, part: part, began: time.Now(), kills: make(map[string]int), seen: make(map[string]struck),
			chance: rand.New(rand.NewPCG(cfg.Seed, 2)), cast: castOf(s, part.cast()),
		}
		err := k.perform(ctx)
		k.print(r)
		return err
	})
}

// killing is one part on its way.
type killing struct {
	*stage
	cfg    KillConfig
	part   killPart
	cast   *cast
	chance *rand.Rand
	began  time.Time

	kills   map[string]int    // by process
	seen    map[string]struck // what was under way at the kills, by attempt
	verdict fleet.Verdict
	slowest time.Duration // from a kill to the word about what it cost
	rates   reading       // of the readers
}

// struck is an attempt that was under way when its process was killed.
type struck struct {
	account string
	at      time.Time
}

// perform starts everybody, kills, lets everybody recover, ends everybody and judges.
func (k *killing) perform(ctx context.Context) error {
	if err := k.cast.enter(ctx); err != nil {
		return err
	}
	demands, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if k.part.loses || k.part.demands && k.part.name != "reply" {
			k.demand(demands, demandRate)
		}
	}()
	err := k.underWay(ctx)
	if err == nil {
		err = k.part.run(k, ctx)
	}
	stop()
	<-done
	if err == nil {
		err = k.recover(ctx)
	}
	k.rates = k.cast.readings()
	if left := k.cast.leave(ctx); left != nil {
		err = errors.Join(err, left)
	}
	var failed error
	if k.verdict, failed = k.judged(ctx); failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, k.judge())
}

// demandRate is how many renewals are asked for in a second.
const demandRate = 60

// total is how many kills there were.
func (k *killing) total() int {
	n := 0
	for _, m := range k.kills {
		n += m
	}
	return n
}

// print says what came of the part.
func (k *killing) print(r *report) {
	l := k.verdict.Ledger
	exchanger := "no exchanger"
	if k.part.exchanger {
		exchanger = "exchanger"
	}
	r.line(k.part.name, "%s provider, %s, %d accounts, %s", k.part.rotation, exchanger, k.cfg.Credentials, time.Since(k.began).Round(time.Second))
	r.line("", "%d kills, %s: %s", k.total(), k.part.pace(), counts(k.kills))
	r.line("", "ledger: %d rotations, %d replayed, %d concurrent, %d last tries, %d revoked, %d reused, %d abandoned",
		l.Rotations, l.Replayed, l.Concurrent, l.LastTries, l.Revoked, l.Reused, l.Abandoned)
	if len(k.seen) > 0 {
		r.line("", "lost %d; %d attempts were under way at the kills", len(k.verdict.Lost), len(k.seen))
	} else {
		r.line("", "lost %d; %d versions recovered after a death", len(k.verdict.Lost), k.verdict.Heard.Reasons["recovered"])
	}
	if k.part.loses {
		flags, _ := k.heard.said()
		r.line("", "flagged %d attempts as of unknown outcome, the slowest %v after the kill", len(flags), k.slowest.Round(time.Millisecond))
	}
	r.line("", "own count: %d versions in the records, %d heard; states %v", k.verdict.Versions, k.verdict.Heard.Events["token.updated"], k.verdict.States)
	if !k.part.loses && !k.part.demands {
		r.line("", "margin: %v", k.heard.renewals())
	}
	if k.rates != (reading{}) {
		r.line("", "reader: %v; ledger: %d at the resource, %d refused", k.rates, l.Requests["resource"], l.Errors["invalid_token"])
	}
}

// counts prints numbers with their names, in the order of the names.
func counts(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}
