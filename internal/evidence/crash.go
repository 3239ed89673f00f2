package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// CrashConfig shapes the experiment about crash points. The zero value is the long form: every case.
type CrashConfig struct {
	Seed  uint64 // 0: a new one
	Cases int    // how many cases, drawn from all; 0: all
	// Only keeps the cases whose name, CLASS/FAULT/STEP, has this part, such as strict/killed; empty: all.
	Only string
	// Parallel is how many cases run at the same time, each with processes of its own; 0: 16.
	Parallel int
	// Mistake is what the workers are made to do wrong (FRESHET_MISTAKE); empty: nothing.
	Mistake string
	// Programs were built with the tag freshet_faults; zero: they are built.
	Programs Programs
}

// crashPoints gives the experiment its name.
func crashPoints() Experiment {
	return Experiment{
		Name: "crash",
		Doc:  "an attempt is killed, frozen, cut off from NATS and refused its write at each of its steps",
		Long: func(ctx context.Context, args []string, out io.Writer) error {
			var cfg CrashConfig
			fs, seed := newFlags("crash", out)
			fs.IntVar(&cfg.Cases, "cases", 0, "how many cases, drawn from all; 0: all")
			fs.StringVar(&cfg.Only, "only", "", "cases whose name CLASS/FAULT/STEP has this part, such as strict/killed")
			fs.IntVar(&cfg.Parallel, "parallel", 0, "cases at the same time; 0: 16")
			fs.StringVar(&cfg.Mistake, "mistake", "", "what the workers do wrong: no_claim, late_journal, blind_retry or overwrite")
			if err := fs.Parse(args); err != nil {
				return err
			}
			cfg.Seed = *seed
			return CrashPoints(ctx, cfg, out)
		},
	}
}

// CrashPoints holds a worker, a real process, at each step of an attempt, at a provider of each rotation class, and
// lets one fault befall it there. Every case has a fleet of its own with one credential, so that its ledger speaks of it
// alone, and is judged against what the design's tables say must happen. It returns an error that names the cases in
// which something else happened.
func CrashPoints(ctx context.Context, cfg CrashConfig, out io.Writer) error {
	cfg.Seed, cfg.Parallel = seeded(cfg.Seed), cmp.Or(cfg.Parallel, 16)
	r := begin(ctx, out, "crash points", cfg.Seed)
	if cfg.Programs == (Programs{}) {
		dir, err := os.MkdirTemp("", "freshet-crash-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if cfg.Programs, err = BuildPrograms(ctx, dir, "-tags", faultsTag); err != nil {
			return err
		}
	}
	cases := cfg.cases()
	results := make([]crashResult, len(cases))
	var g errgroup.Group
	g.SetLimit(cfg.Parallel)
	for i, c := range cases {
		g.Go(func() error {
			results[i] = crash(ctx, crashRun{crashCase: c, cfg: &cfg})
			return nil
		})
	}
	_ = g.Wait() // what went wrong is in the results
	printCrashes(r, results)
	return r.end(crashFaults(results))
}

// fault is what befalls a worker that is held at a step.
type fault string

// The faults. In all but faultReturned there is a second worker, on another host.
const (
	faultKilled   fault = "killed"   // kill -9; its host does not come back
	faultReturned fault = "returned" // kill -9; its host comes back at once, there is no other
	faultLate     fault = "late"     // kill -9; its host comes back after the other worker took over
	faultFrozen   fault = "frozen"   // SIGSTOP until the other worker took over, then it goes on
	faultAway     fault = "away"     // nats-server is killed and started again a little later
	faultRefused  fault = "refused"  // the store refuses its writes for a while
)

func faults() []fault {
	return []fault{faultKilled, faultReturned, faultLate, faultFrozen, faultAway, faultRefused}
}

// crashCase is one of the cases.
type crashCase struct {
	class authserver.Rotation
	fault fault
	step  refresh.Step
}

// String is the case's name.
func (c crashCase) String() string { return fmt.Sprintf("%s/%s/%s", c.class, c.fault, c.step) }

// crashCases returns them all.
func crashCases() []crashCase {
	var all []crashCase
	for _, class := range authserver.Rotations() {
		for _, f := range faults() {
			for _, step := range refresh.Steps() {
				all = append(all, crashCase{class, f, step})
			}
		}
	}
	return all
}

// cases are those to run, in an order that mixes them.
func (cfg *CrashConfig) cases() []crashCase {
	var chosen []crashCase
	for _, c := range crashCases() {
		if cfg.Only == "" || strings.Contains("/"+c.String()+"/", "/"+cfg.Only+"/") {
			chosen = append(chosen, c)
		}
	}
	chance := rand.New(rand.NewPCG(cfg.Seed, 0))
	chance.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	if cfg.Cases > 0 && cfg.Cases < len(chosen) {
		chosen = chosen[:cfg.Cases]
	}
	return chosen
}

// crashFaults names the cases that did not end as designed.
func crashFaults(results []crashResult) error {
	var errs []error
	for _, res := range results {
		if res.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", res, res.err))
		}
	}
	return errors.Join(errs...)
}
