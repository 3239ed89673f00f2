package host

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// Command is a program to run.
type Command struct {
	Name string // in errors
	Path string
	Args []string
	Env  []string // beside what programs need to find their way
	User *User    // nil: ours
}

// Process is a running program whose standard input and output are lines.
type Process struct {
	Name string

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	tail  *tail
	done  chan struct{}
}

// inherited are the variables that every process gets.
var inherited = [...]string{"PATH", "HOME", "TMPDIR"}

// Start starts a program.
func (c Command) Start() (*Process, error) {
	p := &Process{Name: c.Name, cmd: exec.Command(c.Path, c.Args...), lines: make(chan string, 1024), tail: &tail{}, done: make(chan struct{})}
	p.cmd.Env = []string{} // nil would mean all of ours
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	p.cmd.Env = append(p.cmd.Env, c.Env...)
	p.cmd.Stderr = p.tail
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: c.User.credential()}
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p.in = in
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go p.read(out)
	return p, nil
}

func (p *Process) read(out io.Reader) {
	defer close(p.done)
	scan := bufio.NewScanner(out)
	scan.Buffer(nil, 64<<20)
	for scan.Scan() {
		select {
		case p.lines <- scan.Text():
		default: // nobody asks: it is a log
			fmt.Fprintln(p.tail, scan.Text())
		}
	}
	close(p.lines)
	_ = p.cmd.Wait() // ProcessState has it all
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Say writes a line to its standard input.
func (p *Process) Say(line string) error {
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return fmt.Errorf("tell %s %q: %w; it said last: %s", p.Name, line, err, p.tail)
	}
	return nil
}

// Line waits for the next line of its standard output.
func (p *Process) Line(ctx context.Context) (string, error) {
	select {
	case line, ok := <-p.lines:
		if !ok {
			return "", fmt.Errorf("%s has ended; it said last: %s", p.Name, p.tail)
		}
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("wait for %s: %w; it said last: %s", p.Name, ctx.Err(), p.tail)
	}
}

// Ask says a line and wants the answer to begin with the word.
func (p *Process) Ask(ctx context.Context, line, want string) error {
	if err := p.Say(line); err != nil {
		return err
	}
	return p.Await(ctx, want)
}

// Await reads lines until one contains the words.
func (p *Process) Await(ctx context.Context, words string) error {
	for {
		line, err := p.Line(ctx)
		if err != nil {
			return fmt.Errorf("wait for %q: %w", words, err)
		}
		if strings.Contains(line, words) {
			return nil
		}
		fmt.Fprintln(p.tail, line)
	}
}

// Read waits for the next line and decodes it.
func (p *Process) Read(ctx context.Context, into any) error {
	line, err := p.Line(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(line), into); err != nil {
		return fmt.Errorf("%s said %.200q: %w", p.Name, line, err)
	}
	return nil
}

// Kill ends the process at once and waits. One that has ended already is fine, and so is none.
func (p *Process) Kill() error {
	if p == nil {
		return nil
	}
	return p.end(syscall.SIGKILL)
}

// Stop asks it to end, and waits.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

func (p *Process) end(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.Name, err)
	}
	for range p.lines { // makes room for its last words
	}
	<-p.done
	return nil
}

// tail keeps the last of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if n := len(t.text) - tailBytes; n > 0 {
		t.text = append(t.text[:0], t.text[n:]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
