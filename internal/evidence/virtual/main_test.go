// Package virtual_test holds the experiments that last for days, in virtual time. They run by go test alone, the long
// forms with -long; internal/evidence/run calls them.
package virtual_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
)

// The flags of the long forms.
var (
	long = flag.Bool("long", false, "run the long form")
	seed = flag.Uint64("seed", 1, "what chance starts from")
)

func TestMain(m *testing.M) {
	ats.Register() // the server's shared ticker runs outside of every bubble, else virtual time would stand still
	code := m.Run()
	ats.Unregister()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// figure prints one figure under its name, as the other experiments do.
func figure(t *testing.T, name, format string, args ...any) {
	t.Helper()
	t.Logf("%-21s %s", name, fmt.Sprintf(format, args...))
}

// begin prints what is run.
func begin(t *testing.T, name string) {
	t.Helper()
	figure(t, "experiment", "%s", name)
	figure(t, "seed", "%d", *seed)
	figure(t, "with", "%s, %s/%s, %d processors, virtual time", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
}
