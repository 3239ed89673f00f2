package interop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the freshet command, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "32") // the tests wait for clocks more than they compute
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "freshet-interop-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "freshet")
		build := exec.Command("go", "build", "-o", binary, "./cmd/freshet")
		build.Dir = ".." // with the product's own dependencies
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build freshet: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// patience bounds every wait. It is no measurement: a machine under load may take long.
const patience = 3 * time.Minute

// process is a freshet command that runs beside the test. mu guards everything below it.
type process struct {
	cmd  *exec.Cmd
	over chan struct{} // closed when it has ended and everything was read
	err  error         // of Wait; valid after over

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when lines came
	lines   []string      // of both streams
}

// start starts freshet with args; it ends with the test at the latest.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary, args...), over: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.Env = env
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.read(stdout) })
	readers.Go(func() { p.read(stderr) })
	go func() {
		defer close(p.over)
		readers.Wait()
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("freshet %s wrote:\n%s", strings.Join(args, " "), p.text())
		}
	})
	return p
}

func (p *process) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// stop interrupts it as Ctrl-C does, and waits.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGINT) // it may have ended
	select {
	case <-p.over:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.over
	}
}

// ended waits for its end, and reports what it wrote.
func (p *process) ended(t *testing.T) string {
	t.Helper()
	select {
	case <-p.over:
	case <-time.After(patience):
		t.Fatalf("freshet does not end:\n%s", p.text())
	}
	if p.err != nil {
		t.Fatalf("freshet %s: %v\n%s", strings.Join(p.cmd.Args[1:], " "), p.err, p.text())
	}
	return p.text()
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// await returns the first line that find accepts.
func (p *process) await(t *testing.T, what string, find func(line string) bool) string {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for seen := 0; ; {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		for ; seen < len(lines); seen++ {
			if find(lines[seen]) {
				return lines[seen]
			}
		}
		select {
		case <-changed:
		case <-p.over:
			if p.mu.Lock(); len(p.lines) == seen {
				p.mu.Unlock()
				t.Fatalf("freshet %s ended without %s:\n%s", p.cmd.Args[1], what, p.text())
			}
			p.mu.Unlock()
		case <-limit.C:
			t.Fatalf("freshet %s shows no %s:\n%s", p.cmd.Args[1], what, p.text())
		}
	}
}

// awaitMatch returns the first line that matches.
func (p *process) awaitMatch(t *testing.T, pattern string) string {
	t.Helper()
	return p.await(t, pattern, regexp.MustCompile(pattern).MatchString)
}

// installation is a freshet run with its providers, and what other commands need to reach it.
type installation struct {
	env    []string
	dir    string
	events *process
}

// install starts freshet run and waits until it runs. env goes into its environment.
func install(t *testing.T, providers string, env ...string) *installation {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "providers.yaml")
	if err := os.WriteFile(file, []byte(providers), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &installation{dir: dir, env: append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}, env...)}
	run := start(t, f.env, "run", "--store", filepath.Join(dir, "store"), "-f", file, "--nats-port", "0")
	run.awaitMatch(t, "^freshet runs")
	text, err := os.ReadFile(filepath.Join(dir, "store", "env"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)='(.*)'$`).FindAllStringSubmatch(string(text), -1) {
		f.env = append(f.env, m[1]+"="+m[2])
	}
	f.events = start(t, f.env, "events", "--since", "1h", "--follow", "-o", "jsonl")
	return f
}

// command runs freshet to its end and returns what it says on stdout, and its exit code.
func (f *installation) command(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = f.env, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err != nil {
		t.Logf("freshet %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), cmd.ProcessState.ExitCode()
}

// must is command for what has to work.
func (f *installation) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := f.command(t, args...)
	if code != 0 {
		t.Fatalf("freshet %s: exit %d", strings.Join(args, " "), code)
	}
	return out
}

// event is what the tests look at of one.
type event struct {
	Type string
	Data struct {
		Provider, Account, State, Reason, Class, Code string
		Generation, Version                           uint64
	}
}

// awaitEvent returns the first event of a credential, from the beginning, that find accepts.
func (f *installation) awaitEvent(t *testing.T, credential, what string, find func(event) bool) event {
	t.Helper()
	var e event
	f.events.await(t, "event of "+credential+": "+what, func(line string) bool {
		e = event{}
		return json.Unmarshal([]byte(line), &e) == nil && e.Data.Provider+"/"+e.Data.Account == credential && find(e)
	})
	return e
}

// login logs in as a person does who opens the address that the command prints, and returns the credential's line.
func (f *installation) login(t *testing.T, credential string, p *person) string {
	t.Helper()
	login := start(t, f.env, "login", credential, "--no-browser")
	page := p.visit(t, strings.TrimSpace(login.awaitMatch(t, "^  http")))
	if !strings.Contains(page, "is connected") {
		t.Fatalf("the page after the login says: %s", page)
	}
	lines := strings.Split(login.ended(t), "\n")
	return lines[len(lines)-1]
}
