package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Command is a program to run. Of the caller's environment it gets no more than programs need to find their way, so
// that no setting slips in; Env adds to that.
type Command struct {
	Name string // in errors and logs
	Path string
	Args []string
	Env  []string // NAME=value
}

// inherited are the variables that every process gets. GOCOVERDIR collects the coverage of binaries built with -cover.
var inherited = [...]string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"}

func (c Command) cmd() *exec.Cmd {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = []string{} // nil would mean all of ours
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.SysProcAttr = dieWithUs()
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Output is what a command that has ended left.
type Output struct {
	Stdout, Stderr string
	Code           int // exit code; -1: ended by a signal
}

// Run runs a command to its end. An exit code is no error; ctx's end kills the command and is one.
func (c Command) Run(ctx context.Context) (Output, error) {
	cmd := c.cmd()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return Output{}, fmt.Errorf("run %s: %w", c.Name, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	out := Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		return out, fmt.Errorf("run %s: %w", c.Name, ctx.Err())
	}
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return out, fmt.Errorf("run %s: %w", c.Name, err)
	}
	return out, nil
}

// Process is a running program, or one that has ended.
type Process struct {
	Name string
	Log  *Log // its stderr and stdout

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and all it wrote is in Log
}

// Launch starts a program.
func (c Command) Launch() (*Process, error) {
	p := &Process{Name: c.Name, Log: new(Log), cmd: c.cmd(), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.Log, p.Log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState has it all
	}()
	return p, nil
}

// ID is its process id.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end and returns the exit code; -1 means ended by a signal.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the end of %s: %w", p.Name, ctx.Err())
	}
}

// Stop sends SIGTERM and waits as Wait does.
func (p *Process) Stop(ctx context.Context) (int, error) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	return p.Wait(ctx)
}

// Kill sends SIGKILL and waits; a process that has ended already is fine. Frozen ones die as well.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// Freeze stops the process where it is (SIGSTOP), until Thaw.
func (p *Process) Freeze() error { return p.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// Signal sends any other signal.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("send %s to %s: %w", s, p.Name, err)
	}
	return nil
}

// Await waits until n lines of the log contain the text. It fails when the process ends before, or ctx does.
func (p *Process) Await(ctx context.Context, text string, n int) error {
	for ended := false; ; {
		next := p.Log.next()
		if p.Log.Count(text) >= n {
			return nil
		}
		if ended {
			return fmt.Errorf("%s ended and had not said %q %d times; it said last:\n%s", p.Name, text, n, p.Log.Tail(5))
		}
		select {
		case <-next:
		case <-p.done:
			ended = true // once more: its last words came before its end
		case <-ctx.Done():
			return fmt.Errorf("wait until %s says %q %d times: %w; it said last:\n%s", p.Name, text, n, ctx.Err(), p.Log.Tail(5))
		}
	}
}
