package evidence

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Experiment is one piece of evidence.
type Experiment struct {
	Name string // as it is called on the command line: one short lower-case word
	Doc  string // one line
	// Long runs the long form with flags of its own, prints its figures, and returns an error when a guarantee did not
	// hold. It returns flag.ErrHelp when the flags ask for help.
	Long func(ctx context.Context, args []string, out io.Writer) error
}

// Experiments returns every experiment, in the order in which a reader should meet them.
func Experiments() []Experiment {
	return []Experiment{
		crashPoints(),
		kill(),
		answers(),
		freshness(),
		alarm(),
		storm(),
		gap(),
		simulation(),
		away(),
		soak(),
	}
}

// newFlags returns the flags of an experiment's long form, --seed among them.
func newFlags(name string, out io.Writer) (fs *flag.FlagSet, seed *uint64) {
	fs = flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(out)
	return fs, fs.Uint64("seed", 0, "what chance starts from; 0: something new")
}

// partsFlag adds --parts to the flags of an experiment that has parts.
func partsFlag(fs *flag.FlagSet, into *[]string, names []string) {
	fs.Func("parts", "parts to run, with commas between: "+strings.Join(names, ",")+"; empty: all", func(s string) error {
		*into = strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
		return nil
	})
}

// seeded returns the seed, or a new one for 0. Seeds are short, for people to type again.
func seeded(seed uint64) uint64 {
	for seed == 0 {
		seed = uint64(rand.Uint32())
	}
	return seed
}

// report prints an experiment's figures.
type report struct {
	out   io.Writer
	began time.Time
}

// begin prints what was run, with what, and from which seed.
func begin(ctx context.Context, out io.Writer, name string, seed uint64) *report {
	r := &report{out: out, began: time.Now()}
	r.line("experiment", "%s", name)
	r.line("seed", "%d", seed)
	r.line("with", "%s, nats-server %s, %s/%s, %d processors",
		runtime.Version(), natsVersion(ctx), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	return r
}

// line prints one figure under its name.
func (r *report) line(name, format string, args ...any) {
	fmt.Fprintf(r.out, "%-21s %s\n", name, fmt.Sprintf(format, args...))
}

// end prints how long it took and what came of it, and returns err.
func (r *report) end(err error) error {
	r.line("took", "%s", time.Since(r.began).Round(100*time.Millisecond))
	if err != nil {
		r.line("result", "FAILED: %v", err)
		return err
	}
	r.line("result", "every guarantee held")
	return nil
}

// faultsTag builds workers that can be held at a step and made to err; see pkg/refresh. Without the variables that ask for
// it they do neither.
const faultsTag = "freshet_faults"

// natsVersion is the version of the nats-server that fleets are built with.
func natsVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "github.com/nats-io/nats-server/v2").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
