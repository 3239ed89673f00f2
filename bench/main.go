// The bench command compares Freshet with what people use today, on one machine and against one authorization server, and
// measures how its cost grows. See README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/bench/figures"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of the command.
type bench struct {
	figures.Report
	arena  *arena
	quick  bool
	runs   int
	factor float64
	only   []string
	atOnce []int
	plots  string
	// profile is a file for the CPU profile of Freshet with everything embedded; empty: none.
	profile string
}

// experiment is what can be asked for.
type experiment struct {
	name, doc string
	run       func(context.Context, *bench) error
}

func experiments() []experiment {
	return []experiment{
		{"compare", "refreshes per second of everybody, in interleaved rounds", compare},
		{"lost", "what is lost when the worker is killed, counted by the authorization server", lost},
		{"latency", "from a job's publication to the event in another process, 200 a second", latency},
		{"slow", "one worker before a provider that takes 300 ms, 1,024 requests in flight", slowProvider},
		{"start", "sizes of the programs, and from their start to work", startUp},
		{"many", "a million credentials: import, the scheduler's start and lag, reads", many},
		{"herd", "100,000 tokens that end in the same minute, all overdue, and another lane beside them", herd},
		{"micro", "Go benchmarks of Freshet's packages: tokens in memory, the scheduler's index", micro},
		{"growth", "refreshes per second and bytes by credentials, lanes, workers, schedulers, replicas; plots", growth},
	}
}

// size is how many credentials a round has where n is the usual.
func (b *bench) size(n int) int {
	if b.quick {
		return min(n, 128)
	}
	return max(64, int(float64(n)*b.factor))
}

// pick chooses what a usual or a quick run does.
func (b *bench) pick(usual, quick []int) []int {
	if b.quick {
		return quick
	}
	return usual
}

func run(args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "child" {
		return child(args[1:])
	}
	b := &bench{Report: figures.Report{Out: out}}
	todo, jsonPath, err := b.parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	defer stop()
	if b.arena, err = openArena(ctx); err != nil {
		return err
	}
	b.Machine = machine(ctx)
	b.printMachine()
	if b.quick {
		err = b.together(ctx, todo)
	} else {
		err = b.inTurn(ctx, todo)
	}
	return errors.Join(err, b.arena.close(), b.finish(jsonPath))
}

// inTurn runs one experiment after the other, so that each has the machine to itself.
func (b *bench) inTurn(ctx context.Context, todo []experiment) error {
	for _, e := range todo {
		if err := e.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return nil
}

// togetherAtOnce is how many experiments of a quick run share the machine.
const togetherAtOnce = 4

// together runs experiments side by side: quick figures mean nothing, so they may as well be had soon.
func (b *bench) together(ctx context.Context, todo []experiment) error {
	parts, outs := make([]*bench, len(todo)), make([]bytes.Buffer, len(todo))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(togetherAtOnce)
	for i, e := range todo {
		part := *b
		part.Out, part.Figures, part.Series = &outs[i], nil, nil
		parts[i] = &part
		g.Go(func() error {
			if err := e.run(ctx, &part); err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			return nil
		})
	}
	err := g.Wait()
	for i, part := range parts {
		_, _ = outs[i].WriteTo(b.Out) // a terminal or a buffer
		b.Figures, b.Series = append(b.Figures, part.Figures...), append(b.Series, part.Series...)
	}
	return err
}

// parse reads the command line.
func (b *bench) parse(args []string) (todo []experiment, jsonPath string, err error) {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.BoolVar(&b.quick, "quick", false, "everything tiny: whether it works, not how fast it is")
	fs.IntVar(&b.runs, "runs", 5, "interleaved rounds that count")
	fs.Float64Var(&b.factor, "size", 1, "factor for the number of credentials")
	fs.StringVar(&b.plots, "plots", ".", "directory for the plots")
	fs.StringVar(&jsonPath, "json", "", "file for all figures as JSON; - for standard output")
	fs.StringVar(&b.profile, "cpuprofile", "", "file for a CPU profile of the row freshet embedded; give --only 'freshet embedded' too")
	atOnce := fs.String("at-once", "64,256", "refreshes in flight in the comparison, with commas between")
	only := fs.String("only", "", "contestants to run, by the names of their rows, with commas between; empty: all")
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: go run . [flags] [experiment ...]\n\nWithout names every experiment is run:")
		for _, e := range experiments() {
			fmt.Fprintf(fs.Output(), "  %-10s %s\n", e.name, e.doc)
		}
		fs.PrintDefaults()
	}
	names, rest := split(args)
	if err := fs.Parse(rest); err != nil {
		return nil, "", err
	}
	names = append(names, fs.Args()...)
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	for field := range strings.SplitSeq(*atOnce, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, "", fmt.Errorf("--at-once %q: want numbers with commas between", *atOnce)
		}
		b.atOnce = append(b.atOnce, n)
	}
	if b.quick {
		b.Quick, b.runs = true, min(b.runs, 2)
	}
	for _, e := range experiments() {
		if len(names) == 0 || contains(&names, e.name) {
			todo = append(todo, e)
		}
	}
	if len(todo) == 0 || len(names) > 0 && names[0] != "" {
		err = fmt.Errorf("no such experiment: %q; see --help", names)
	}
	return todo, jsonPath, err
}

// split takes the names that come before the first flag.
func split(args []string) (names, rest []string) {
	for i, a := range args {
		if strings.HasPrefix(a, "-") {
			return names, args[i:]
		}
		names = append(names, a)
	}
	return names, nil
}

// contains takes a name out of the list. A list that becomes empty keeps an empty name, so that it does not mean everything.
func contains(names *[]string, name string) bool {
	for i, n := range *names {
		if n != name {
			continue
		}
		*names = append((*names)[:i:i], (*names)[i+1:]...)
		if len(*names) == 0 {
			*names = []string{""}
		}
		return true
	}
	return false
}

// finish writes what is for programs and says how many targets were missed.
func (b *bench) finish(jsonPath string) error {
	if n := b.Failed(); n > 0 {
		fmt.Fprintf(b.Out, "\n%d targets were missed.\n", n)
	}
	switch jsonPath {
	case "":
		return nil
	case "-":
		return b.WriteJSON(b.Out)
	}
	f, err := os.Create(filepath.Clean(jsonPath))
	if err != nil {
		return err
	}
	return errors.Join(b.WriteJSON(f), f.Close())
}
