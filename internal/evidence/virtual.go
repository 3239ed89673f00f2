package evidence

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// The experiments in virtual time are tests, because only a test may stop the clock (testing/synctest). Their long forms
// are the same tests with other flags.
const (
	virtualPackage    = "github.com/freshetdev/freshet/internal/evidence/virtual"
	simulationPackage = "github.com/freshetdev/freshet/internal/evidence/simulation"
)

// alarm, gap and simulation give the experiments their names.
func alarm() Experiment {
	return inVirtualTime("alarm", "one request in ten fails, and the provider is away for 30 minutes: nobody is asked to log in again", "TestNoFalseAlarm")
}

func gap() Experiment {
	return inVirtualTime("gap", "how long a worker must be frozen right before its first byte until a refresh token comes second", "TestGap")
}

func inVirtualTime(name, doc, test string) Experiment {
	return Experiment{Name: name, Doc: doc, Long: func(ctx context.Context, args []string, out io.Writer) error {
		fs, seed := newFlags(name, out)
		if err := fs.Parse(args); err != nil {
			return err
		}
		return runTest(ctx, out, virtualPackage, test, "-long", "-seed", number(seeded(*seed)))
	}}
}

func simulation() Experiment {
	return Experiment{
		Name: "simulation",
		Doc:  "a small fleet to which chance does its worst, judged after every step, 10,000 seeds; every write may fail",
		Long: func(ctx context.Context, args []string, out io.Writer) error {
			fs, seed := newFlags("simulation", out)
			checks := fs.Int("seeds", 10_000, "how many, over all five rotation classes")
			if err := fs.Parse(args); err != nil {
				return err
			}
			*seed = seeded(*seed)
			r := begin(ctx, out, "simulation", *seed)
			return r.end(runTest(ctx, out, simulationPackage, "TestSimulation", "-rapid.nofailfile",
				"-rapid.seed", number(*seed), "-rapid.checks", strconv.Itoa(max(*checks/5, 1))))
		},
	}
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// runTest runs one test of a package and prints what it says, without what go test says around it.
func runTest(ctx context.Context, out io.Writer, pkg, test string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", pkg, "-run", "^" + test + "$", "-v", "-count", "1", "-timeout", "5h"}, args...)...)
	cmd.Stderr = out
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", test, err)
	}
	for in := bufio.NewScanner(lines); in.Scan(); {
		line := in.Text()
		if strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "ok ") || line == "PASS" {
			continue
		}
		if _, said, ok := strings.Cut(line, "_test.go:"); ok { // FILE_test.go:LINE: what was logged
			_, line, _ = strings.Cut(said, ": ")
		}
		fmt.Fprintln(out, line)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", test, err)
	}
	return nil
}
