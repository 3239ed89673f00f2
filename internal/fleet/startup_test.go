package fleet_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/fleet"
)

// The exit codes of all programs.
const (
	codeError = 1
	codeUsage = 2
)

// startup is a command line that cannot work.
type startup struct {
	program string // default: worker
	as      string // NATS role; default: worker
	args    []string
	env     []string
	code    int
	says    string
}

// What cannot work ends at once, with the right code and with words that help.
func TestProcessesThatCannotStartSayWhy(t *testing.T) {
	t.Parallel()
	ctx := within(t, 60*time.Second)
	f := start(ctx, t, strict(10*time.Second, 4*time.Second))
	keysets := []string{"--grant-keyset", f.Keysets.Grant, "--access-keyset", f.Keysets.Access}
	state := []string{"--state-dir", t.TempDir()}
	good := append(state[:2:2], keysets...)
	with := func(args ...string) []string { return append(args, good...) }
	old := outdated(t, f.NATS)
	bare := bareNATS(ctx, t)
	const tooOld = "nats-server is too old: it is 2.11.9, Freshet needs 2.12 or newer"
	const notSetUp = `not set up: missing bucket tokens, bucket providers, stream REFRESH_JOBS, stream TOKEN_EVENTS: run "freshet setup"`
	checkStartups(ctx, t, f.NATS, map[string]startup{
		"unknown flag":       {args: []string{"--nonsense"}, code: codeUsage, says: "unknown flag: --nonsense; see worker --help"},
		"argument":           {args: []string{"acme"}, code: codeUsage, says: `"acme"`},
		"bad log level":      {args: with("--log-level", "loud"), code: codeUsage, says: `--log-level "loud": want debug, info, warn or error`},
		"bad variable":       {args: good, env: []string{"FRESHET_HANDS=many"}, code: codeUsage, says: "environment variable FRESHET_HANDS"},
		"bad namespace":      {args: with("--namespace", "a.b"), code: codeUsage, says: `"a.b"`},
		"no state directory": {args: keysets, code: codeUsage, says: "no state directory: give --state-dir DIR"},
		"no keysets":         {args: state, code: codeError, says: "no access keyset: give --access-keyset FILE (make one with freshet keys generate)"},
		"missing keyset":     {args: append(good[:6:6], "--grant-keyset", "/nowhere"), code: codeError, says: "read grant keyset: open /nowhere"},
		"server too old":     {args: with("--server", old), code: codeError, says: tooOld},
		"not set up":         {args: with("--server", bare.URL()), code: codeError, says: notSetUp},

		"scheduler: unknown flag":   {program: programs.Scheduler, args: []string{"--nonsense"}, code: codeUsage, says: "unknown flag: --nonsense; see scheduler --help"},
		"scheduler: argument":       {program: programs.Scheduler, args: []string{"acme"}, code: codeUsage, says: `"acme"`},
		"scheduler: bad log level":  {program: programs.Scheduler, args: []string{"--log-level", "loud"}, code: codeUsage, says: `--log-level "loud"`},
		"scheduler: server too old": {program: programs.Scheduler, as: fleet.RoleScheduler, args: []string{"--server", old}, code: codeError, says: tooOld},
		"scheduler: not set up":     {program: programs.Scheduler, as: fleet.RoleScheduler, args: []string{"--server", bare.URL()}, code: codeError, says: notSetUp},
		"setup: server too old":     {program: programs.Freshet, as: fleet.RoleOperator, args: []string{"setup", "--server", old}, code: codeError, says: tooOld},
	})
}

func checkStartups(ctx context.Context, t *testing.T, n *fleet.NATS, cases map[string]startup) {
	t.Helper()
	var wg sync.WaitGroup
	for name, tc := range cases {
		if tc.program == "" {
			tc.program = programs.Worker
		}
		if tc.as == "" {
			tc.as = fleet.RoleWorker
		}
		wg.Go(func() {
			out, err := n.As(tc.as, fleet.Command{Name: name, Path: tc.program, Args: tc.args, Env: tc.env}).Run(ctx)
			if err != nil {
				t.Errorf("%s: %v: %s", name, err, out.Stderr)
			} else if out.Code != tc.code || !strings.Contains(out.Stderr, tc.says) {
				t.Errorf("%s: exit code %d, want %d; it said %q, want %q in it", name, out.Code, tc.code, out.Stderr, tc.says)
			}
		})
	}
	wg.Wait()
}

// Two workers on one journal would each take the other's outcomes for its own past.
func TestAStateDirectoryHasOneWorker(t *testing.T) {
	t.Parallel()
	ctx := within(t, 30*time.Second)
	f := start(ctx, t, strict(10*time.Second, 4*time.Second))
	first := worker(ctx, t, f, "worker-1")
	second, err := f.Worker("worker-1")
	must(t, err)
	code, err := second.Wait(ctx)
	must(t, err)
	wantEqual(t, "exit code of the second worker", code, codeError)
	if text := second.Log.Tail(1); !strings.Contains(text, "is held by process ") || !strings.Contains(text, "stop it or use another directory") {
		t.Errorf("the second worker said %q", text)
	}
	stop(ctx, t, first, workerStopped)
	stop(ctx, t, worker(ctx, t, f, "worker-1"), workerStopped)
}

// bareNATS is a server without users on which nobody has set anything up.
func bareNATS(ctx context.Context, t *testing.T) *fleet.NATS {
	t.Helper()
	n, err := fleet.StartNATS(ctx, fleet.NATSConfig{Binary: programs.NATSServer, Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { must(t, n.Kill()) })
	return n
}

// outdated returns an address at which the server names a version that lacks what Freshet needs. All else is its own.
func outdated(t *testing.T, n *fleet.NATS) string {
	t.Helper()
	nc, err := n.Connect(fleet.RoleOperator)
	must(t, err)
	version := nc.ConnectedServerVersion()
	nc.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed by the cleanup
			}
			wg.Go(func() { pass(conn, strings.TrimPrefix(n.URL(), "nats://"), version) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "nats://" + l.Addr().String()
}

// pass carries lines from the server, with another version in them, and bytes to it, until either side ends.
func pass(client net.Conn, addr, version string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return // the client sees the end of its connection
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer server.Close()
	wg.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
	})
	for lines := bufio.NewReader(server); err == nil; {
		var line string
		line, err = lines.ReadString('\n')
		_, _ = io.WriteString(client, strings.Replace(line, `"version":"`+version+`"`, `"version":"2.11.9"`, 1))
	}
	client.Close()
}
