package fleet_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshetdev/freshet/internal/fleet"
)

// programs are what every test here runs; TestMain builds them once.
var programs fleet.Binaries

// natsConfig is the configuration that people are given, permissions included.
var natsConfig = filepath.Join("..", "..", "deploy", "nats", "nats-server.conf")

// atOnce is how many fleets run at the same time. They wait far more than they compute, so it is not the number of
// processors.
const atOnce = "5"

// TestMain doubles as a caller that one of the tests kills, and as a program that uses tokens.
func TestMain(m *testing.M) {
	if os.Getenv(userKeyset) != "" {
		os.Exit(useToken())
	}
	if binary := os.Getenv(doomedNATS); binary != "" {
		doomed(binary)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := readSources(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "freshet-fleet-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if programs, err = fleet.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// The variables that make the test binary a caller that will be killed: the nats-server to start, and its directory.
const (
	doomedNATS = "FLEET_TEST_NATS"
	doomedDir  = "FLEET_TEST_DIR"
)

// doomed starts a server, says where, and waits for its death.
func doomed(binary string) {
	n, err := fleet.StartNATS(context.Background(), fleet.NATSConfig{Binary: binary, Dir: os.Getenv(doomedDir)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n.URL())
	select {}
}

// readSources looks at what the programs are built from beyond this package's own imports: go test takes a result out of its
// cache only when nothing that the test looked at has changed.
func readSources() error {
	if _, err := os.Stat(filepath.Join("..", "..", "go.mod")); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join("..", "..", "cmd"), func(_ string, _ fs.DirEntry, err error) error { return err })
}

// within is a context for a whole test, so that a fleet that hangs fails with its logs and not by the package's timeout.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start starts a fleet that ends with the test. Where the test fails, it shows what the processes said last.
func start(ctx context.Context, t *testing.T, cfg fleet.Config) *fleet.Fleet {
	t.Helper()
	cfg.Dir, cfg.Binaries, cfg.NATSConfig = t.TempDir(), programs, cmp.Or(cfg.NATSConfig, natsConfig)
	f, err := fleet.Start(ctx, cfg)
	must(t, err)
	t.Cleanup(func() {
		must(t, f.Close())
		if t.Failed() {
			for _, p := range append(f.Processes(), f.NATS.Process) {
				t.Logf("%s said last:\n%s", p.Name, notable(p.Log))
			}
		}
	})
	return f
}

// notable is the end of a log without the lines that tell of ordinary work.
func notable(l *fleet.Log) string {
	const most = 20
	var lines []string
	for _, line := range l.Lines() {
		if !strings.Contains(line, `"level":"debug"`) && !strings.Contains(line, `"level":"info"`) && !strings.Contains(line, "[INF]") {
			lines = append(lines, line)
		}
	}
	return strings.Join(append(lines[max(0, len(lines)-most):], l.Tail(1)), "\n")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// worker starts a worker and waits until it works.
func worker(ctx context.Context, t *testing.T, f *fleet.Fleet, name string, args ...string) *fleet.Process {
	t.Helper()
	p, err := f.Worker(name, args...)
	must(t, err)
	must(t, p.Await(ctx, "worker started", 1))
	return p
}

// scheduler starts a scheduler and waits until it has seen every record.
func scheduler(ctx context.Context, t *testing.T, f *fleet.Fleet, name string) *fleet.Process {
	t.Helper()
	p, err := f.Scheduler(name)
	must(t, err)
	must(t, p.Await(ctx, "index is complete", 1))
	return p
}

// stop ends a process as a service manager does and wants it to end well.
func stop(ctx context.Context, t *testing.T, p *fleet.Process, lastWords string) {
	t.Helper()
	code, err := p.Stop(ctx)
	must(t, err)
	if code != 0 {
		t.Errorf("%s ended with exit code %d after SIGTERM:\n%s", p.Name, code, p.Log.Tail(5))
	}
	wantSaid(t, p, lastWords, 1)
}

func wantSaid(t *testing.T, p *fleet.Process, text string, n int) {
	t.Helper()
	if got := p.Log.Count(text); got != n {
		t.Errorf("%s said %q %d times, want %d; it said last:\n%s", p.Name, text, got, n, p.Log.Tail(5))
	}
}

// The last words of processes that leave nothing behind.
const (
	workerStopped    = "worker stopped, nothing left in its journal"
	schedulerStopped = "scheduler stopped"
)

// judge returns the verdict, whose guarantees must hold.
func judge(ctx context.Context, t *testing.T, f *fleet.Fleet) fleet.Verdict {
	t.Helper()
	v, err := f.Verdict(ctx)
	must(t, err)
	t.Logf("verdict:\n%s", v)
	if err := v.Err(); err != nil {
		t.Errorf("the guarantees did not hold: %v", err)
	}
	return v
}

func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
