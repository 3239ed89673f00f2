package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/freshetdev/freshet/bench/figures"
	"github.com/freshetdev/freshet/bench/host"
)

// microBench is one of Freshet's own Go benchmarks, with the figure that has a target.
type microBench struct {
	pkg, pattern, times string
	figures             []microFigure
}

type microFigure struct {
	line   *regexp.Regexp // of the benchmark's name
	unit   string         // as go test prints it
	factor float64
	name   string
	shown  string // the unit shown
	target *figures.Target
}

func line(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

func microBenches() []microBench {
	return []microBench{
		{"./pkg/tokens", "^BenchmarkTokenWarm$", "1s", []microFigure{
			{line(`/one_goroutine`), "ns/op", 1, "warm TokenSource.Token()", "ns", figures.AtMost(20)},
			{line(`/one_goroutine`), "allocs/op", 1, "warm TokenSource.Token(): allocations", "", figures.AtMost(0)},
			{line(`/all_processors`), "ns/op", 1, "warm TokenSource.Token(), all processors", "ns", figures.AtMost(20)},
		}},
		// Rounds are counted: the benchmark has as many seconds as it has thousands of entries, a hundredth at most.
		{"./internal/schedule", "^BenchmarkIndexDue$", "50x", []microFigure{
			{line(`/100000\b`), "ns/op", 1e-6, "tick that finds 1,000 due among 100,000", "ms", nil},
			{line(`/10000000\b`), "ns/op", 1e-6, "tick that finds 1,000 due among 10 million", "ms", figures.AtMost(1)},
		}},
		{"./internal/schedule", "^BenchmarkIndexGC$", "5x", []microFigure{
			{line(`/10000000\b`), "ns/op", 1e-6, "garbage collection, index of 10 million", "ms", figures.AtMost(10)},
			{line(`/10000000\b`), "RSS-B/entry", 1, "resident memory per credential of 10 million", "bytes", figures.AtMost(100)},
			{line(`/10000000\b`), "B/entry", 1, "index bytes per credential of 10 million", "bytes", nil},
		}},
	}
}

// micro runs benchmarks of Freshet's packages and puts their figures beside the targets.
func micro(ctx context.Context, b *bench) error {
	b.Title("In memory")
	root, err := host.Root(ctx)
	if err != nil {
		return err
	}
	for _, m := range microBenches() {
		if err := b.runMicro(ctx, root, m); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) runMicro(ctx context.Context, root string, m microBench) error {
	args := []string{"test", "-run", "^$", "-bench", m.pattern, "-benchmem", "-timeout", "60m"}
	if b.quick {
		args = append(args, "-short", "-benchtime", "1x")
	} else {
		args = append(args, "-benchtime", m.times, "-count", strconv.Itoa(b.runs))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, m.pkg)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -bench %s %s: %w\n%s", m.pattern, m.pkg, err, out)
	}
	for _, f := range m.figures {
		runs := microRuns(string(out), f)
		if len(runs) == 0 {
			if b.quick {
				fmt.Fprintf(b.Out, "%-46s not measured in a quick run\n", f.name)
				continue
			}
			return fmt.Errorf("go test -bench %s %s: no line %v with %s in\n%s", m.pattern, m.pkg, f.line, f.unit, out)
		}
		b.Say(figures.Figure{Experiment: "micro", Name: f.name, Unit: f.shown, Runs: runs, Target: f.target, Note: m.pkg})
	}
	return nil
}

// microRuns finds a figure in the output of go test: "BenchmarkX-2  50  123 ns/op  4 B/op".
func microRuns(out string, f microFigure) (runs []float64) {
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		i := slices.Index(fields, f.unit)
		if i < 1 || !strings.HasPrefix(fields[0], "Benchmark") || !f.line.MatchString(fields[0]) {
			continue
		}
		if v, err := strconv.ParseFloat(fields[i-1], 64); err == nil {
			runs = append(runs, v*f.factor)
		}
	}
	return runs
}
