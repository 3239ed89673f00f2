package main_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait for a process. It is no measurement: a machine under load may take long.
const patience = 60 * time.Second

// process is a command that runs beside the script. mu guards everything below it.
type process struct {
	cmd  *exec.Cmd
	over chan struct{} // closed when it has ended and everything was read

	mu      sync.Mutex
	changed chan struct{} // closed, and made anew, when lines came
	out     []string
	err     []string
}

// startProcess starts args in the script's directory and environment.
func startProcess(ts *testscript.TestScript, env []string, args []string) (*process, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(path, args[1:]...), over: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = ts.MkAbs("."), env
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.read(stdout, &p.out) })
	readers.Go(func() { p.read(stderr, &p.err) })
	go func() {
		defer close(p.over)
		readers.Wait()
		_ = p.cmd.Wait() // the exit code is in ProcessState
	}()
	return p, nil
}

func (p *process) read(r io.Reader, to *[]string) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		p.mu.Lock()
		*to = append(*to, lines.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// lines returns what it has written so far, and what is closed when there is more.
func (p *process) lines() (out, err []string, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out[:len(p.out):len(p.out)], p.err[:len(p.err):len(p.err)], p.changed
}

// await returns the first line, of both streams, that matches; ok is false when the process ended without, or patience did.
func (p *process) await(re *regexp.Regexp) (line string, ok bool) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		over := p.ended()
		out, err, changed := p.lines()
		for _, line := range append(out, err...) {
			if re.MatchString(line) {
				return line, true
			}
		}
		if over {
			return "", false
		}
		select {
		case <-changed:
		case <-p.over:
		case <-limit.C:
			return "", false
		}
	}
}

func (p *process) ended() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

// end kills it, if need be.
func (p *process) end() {
	if !p.ended() {
		_ = p.cmd.Process.Kill()
	}
	<-p.over
}

// processes are those of one script, by the names it gave them.
type processes map[string]*process

func (all processes) get(ts *testscript.TestScript, name string) *process {
	p := all[name]
	if p == nil {
		ts.Fatalf("no process is called %s", name)
	}
	return p
}

// cmdStart: start NAME COMMAND ARGS... runs a command beside the script.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	p, err := startProcess(ts, environment(ts), args[1:])
	ts.Check(err)
	ts.Defer(p.end)
	running(ts)[args[0]] = p
}

// cmdAwait: await NAME REGEXP waits for a line on either stream.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	p := running(ts).get(ts, args[0])
	line, ok := p.await(regexp.MustCompile(args[1]))
	if !ok {
		out, err, _ := p.lines()
		ts.Fatalf("%s never said %q; stdout:\n%s\nstderr:\n%s", args[0], args[1], strings.Join(out, "\n"), strings.Join(err, "\n"))
	}
	ts.Logf("%s: %s", args[0], line)
}

// cmdInterrupt: interrupt NAME is Ctrl-C.
func cmdInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(running(ts).get(ts, args[0]).cmd.Process.Signal(os.Interrupt))
}

// cmdHangup: hangup NAME is SIGHUP.
func cmdHangup(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(running(ts).get(ts, args[0]).cmd.Process.Signal(syscall.SIGHUP))
}

// cmdCrash: crash NAME is kill -9.
func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(running(ts).get(ts, args[0]).cmd.Process.Signal(syscall.SIGKILL))
}

// cmdEnded: ended NAME [CODE] waits for its end, compares the exit code unless it was to be killed, and leaves its output
// in the files NAME.out and NAME.err.
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	p := running(ts).get(ts, args[0])
	select {
	case <-p.over:
	case <-time.After(patience):
		ts.Fatalf("%s does not end", args[0])
	}
	out, err, _ := p.lines()
	for suffix, lines := range map[string][]string{".out": out, ".err": err} {
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs("."), args[0]+suffix), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	}
	if code := p.cmd.ProcessState.ExitCode(); len(args) > 1 && strconv.Itoa(code) != args[1] {
		ts.Fatalf("%s ended with code %d, want %s; stdout:\n%s\nstderr:\n%s", args[0], code, args[1], strings.Join(out, "\n"), strings.Join(err, "\n"))
	}
}
