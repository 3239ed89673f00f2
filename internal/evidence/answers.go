package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
)

// AnswersConfig describes the experiment in which answers get lost after the provider has rotated. Its zero value is the
// long form.
type AnswersConfig struct {
	Programs Programs // zero: built anew
	Seed     uint64   // 0: a new one
	// Rotations is how many there are at each provider, at least; default 20,000.
	Rotations int
	// Credentials is how many accounts there are; default 3,000.
	Credentials int
	// Share is how many of all answers are lost; default 0.01.
	Share float64
	// Mistake is what the workers are told to do wrong (FRESHET_MISTAKE); the programs must be built for it.
	Mistake string
}

func (c AnswersConfig) withDefaults() AnswersConfig {
	c.Seed = seeded(c.Seed)
	c.Rotations = cmp.Or(c.Rotations, 20_000)
	c.Credentials = cmp.Or(c.Credentials, 3_000)
	c.Share = cmp.Or(c.Share, 0.01)
	return c
}

// answers is the experiment's place in the list.
func answers() Experiment {
	return Experiment{
		Name: "answers",
		Doc:  "1 % of all answers are dropped, truncated, or replaced by a 502 or garbage after the provider has rotated",
		Long: func(ctx context.Context, args []string, out io.Writer) error {
			fs, seed := newFlags("answers", out)
			cfg := AnswersConfig{}
			fs.IntVar(&cfg.Rotations, "rotations", 0, "rotations at each provider; 0: 20000")
			fs.IntVar(&cfg.Credentials, "credentials", 0, "accounts; 0: 3000")
			fs.Float64Var(&cfg.Share, "share", 0, "share of the answers that are lost; 0: 0.01")
			if err := fs.Parse(args); err != nil {
				return err
			}
			cfg.Seed = *seed
			return Answers(ctx, cfg, out)
		},
	}
}

// Answers loses answers at a provider with a grace of 30 s, and then at a strict one, each with a fleet of its own.
func Answers(ctx context.Context, cfg AnswersConfig, out io.Writer) error {
	cfg = cfg.withDefaults()
	r := begin(ctx, out, "answers", cfg.Seed)
	err := withPrograms(ctx, cfg.Programs, func(p Programs) error {
		cfg.Programs = p
		var errs []error
		for _, rotation := range []authserver.Rotation{authserver.RotationGrace, authserver.RotationStrict} {
			if err := answersAt(ctx, cfg, rotation, r); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", rotation, err))
			}
		}
		return errors.Join(errs...)
	})
	return r.end(err)
}

// lostAnswers are the faults: the rotation has happened, only its answer does not arrive.
func lostAnswers(share float64) []authserver.Fault {
	faults := []authserver.Fault{
		{Kind: authserver.FaultDrop},
		{Kind: authserver.FaultTruncate},
		{Kind: authserver.FaultStatus, Status: 502},
		{Kind: authserver.FaultGarbage},
	}
	for i := range faults {
		faults[i].After, faults[i].Probability = true, share/float64(len(faults))
	}
	return faults
}

func answersAt(ctx context.Context, cfg AnswersConfig, rotation authserver.Rotation, r *report) error {
	began := time.Now()
	// Access tokens outlive the experiment: what is lost is to be found out without their end.
	fc := fleet.Config{
		Auth: authserver.Config{Rotation: rotation, Latency: 20 * time.Millisecond, AccessLifetime: time.Hour, Seed: cfg.Seed},
	}
	fc.Limits.Timeout = duration(5 * time.Second)
	return play(ctx, cfg.Programs, fc, func(s *stage) error {
		s.mistaken(cfg.Mistake)
		if err := s.Enrol(ctx, cfg.Credentials); err != nil {
			return err
		}
		if err := s.Auth.SetFaults(lostAnswers(cfg.Share)); err != nil {
			return err
		}
		c := castOf(s, []string{natsName, "worker-1", "worker-2", "scheduler-1"})
		if err := c.enter(ctx); err != nil {
			return err
		}
		err := loseAnswers(ctx, cfg, s)
		err = errors.Join(err, c.leave(ctx))
		v, failed := s.judged(ctx)
		if failed != nil {
			return errors.Join(err, failed)
		}
		j := answersJudge{stage: s, verdict: v, rotation: rotation}
		err = errors.Join(err, j.judge())
		j.print(r, cfg, time.Since(began))
		return err
	})
}

// answersRate is how many renewals are asked for in a second.
const answersRate = 150

// loseAnswers has tokens renewed until there were enough rotations, and then lets everybody recover.
func loseAnswers(ctx context.Context, cfg AnswersConfig, s *stage) error {
	demands, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.demand(demands, answersRate)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && s.Auth.Ledger().Rotations < int64(cfg.Rotations) {
		<-tick.C
	}
	stop()
	<-done
	return errors.Join(s.Auth.SetFaults(nil), s.settle(ctx))
}

// answersJudge compares what the authorization server lost with what the records and the events say.
type answersJudge struct {
	*stage
	verdict  fleet.Verdict
	rotation authserver.Rotation
	slowest  time.Duration // from a rotation whose answer was lost to the word about it
	flagged  int           // accounts of which something was said
}

// injected is how many answers were lost.
func (j *answersJudge) injected() int {
	n := 0
	for _, m := range j.verdict.Ledger.Faults {
		n += int(m)
	}
	return n
}

func (j *answersJudge) judge() error {
	v := j.verdict
	var errs []error
	if v.Ledger.Damaged != int64(j.injected()) || j.injected() == 0 {
		errs = append(errs, fmt.Errorf("%d faults damaged %d rotations", j.injected(), v.Ledger.Damaged))
	}
	if j.rotation != authserver.RotationStrict {
		return errors.Join(append(errs, v.Err())...)
	}
	lost := make(map[string]bool)
	for _, l := range v.Lost {
		lost[l.Account] = true
	}
	v.Lost = nil // judged here
	errs = append(errs, v.Err())
	if len(lost) != j.injected() || v.Ledger.LastTries > 0 {
		errs = append(errs, fmt.Errorf("%d grants are lost by %d lost answers, %d were tried again", len(lost), j.injected(), v.Ledger.LastTries))
	}
	flags, _ := j.heard.said()
	said := make(map[string]time.Time)
	for _, w := range flags {
		said[w.account] = w.at
	}
	for _, account := range j.Accounts() {
		errs = append(errs, j.judgeAccount(account, lost[account], said))
	}
	return errors.Join(errs...)
}

// judgeAccount wants those accounts lost and flagged whose answer was lost, and no others.
func (j *answersJudge) judgeAccount(account string, lost bool, said map[string]time.Time) error {
	grant := j.Auth.Account(account).Grants[0]
	took := time.Duration(-1)
	if at, ok := said[account]; ok {
		took = at.Sub(grant.Used)
		j.flagged++
		j.slowest = max(j.slowest, took)
	}
	if hit := grant.Lost > 0; hit != lost || hit != (took >= 0) || took > flaggedWithin {
		return fmt.Errorf("%s: answers lost %d, grant lost %t, said after %v (-1: never)", account, grant.Lost, lost, took)
	}
	return nil
}

func (j *answersJudge) print(r *report, cfg AnswersConfig, took time.Duration) {
	l := j.verdict.Ledger
	r.line(string(j.rotation), "%d accounts, %d demands a second, %v", cfg.Credentials, answersRate, took.Round(time.Second))
	faults := make(map[string]int)
	for kind, n := range l.Faults {
		faults[kind] = int(n)
	}
	r.line("", "%d answers lost: %s", j.injected(), counts(faults))
	r.line("", "ledger: %d rotations, %d replayed, %d concurrent, %d last tries, %d revoked, %d reused",
		l.Rotations, l.Replayed, l.Concurrent, l.LastTries, l.Revoked, l.Reused)
	r.line("", "lost %d", len(j.verdict.Lost))
	if j.rotation == authserver.RotationStrict {
		r.line("", "flagged %d accounts, the slowest %v after the rotation", j.flagged, j.slowest.Round(time.Millisecond))
	}

	r.line("", "own count: %d versions in the records, %d heard; states %v", j.verdict.Versions, j.verdict.Heard.Events["token.updated"], j.verdict.States)
}
