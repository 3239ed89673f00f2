package agent

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// child is one run of the command.
type child struct {
	cmd   *exec.Cmd
	group bool   // it leads a process group of its own
	state string // of the tokens it was started with, or last told of
	over  chan error
}

func (e Exec) start(keep *tray) (*child, error) {
	env, state := keep.environment(e.Env)
	keep.count(e)
	c := &child{cmd: exec.Command(e.Args[0], e.Args[1:]...), group: !e.Terminal, state: state, over: make(chan error, 1)}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = e.In, e.Out, e.Err
	c.cmd.Env = append(Inherited(os.Environ()), env...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: c.group}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the command: %w", err)
	}
	go func() { c.over <- c.cmd.Wait() }()
	return c, nil
}

// signal sends a signal to the command; one that asks to end goes to what it has started as well, and no other does, since it would
// end what has no use for it. Those that have ended are no concern.
func (c *child) signal(s os.Signal) {
	if c.group && (asksToEnd(s) || s == syscall.SIGKILL) {
		_ = syscall.Kill(-c.cmd.Process.Pid, s.(syscall.Signal)) //nolint:forcetypeassert // it is one of those
		return
	}
	_ = c.cmd.Process.Signal(s)
}

// gone reports whether nothing is left of a command that has ended itself.
func (c *child) gone() bool {
	if !c.group {
		return true
	}
	pid := -c.cmd.Process.Pid
	for { // where we are the first process of a container, orphans are ours to wait for
		if n, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); n <= 0 || err != nil {
			break
		}
	}
	return syscall.Kill(pid, 0) != nil
}

const (
	// defaultKillAfter is what service managers give at least.
	defaultKillAfter = 10 * time.Second
	// goneEvery is how often it is looked whether what a command left behind has ended: nobody tells.
	goneEvery = 20 * time.Millisecond
)

// end ends a run, and what it has started: SIGTERM, then SIGKILL. Signals are forwarded meanwhile. final means that there must be no
// other run, and err is how this one ended: it had done so by itself already, or somebody else asked for it too.
func (e Exec) end(c *child) (final bool, err error) {
	select {
	case err := <-c.over:
		return true, err
	default:
	}
	c.signal(syscall.SIGTERM)
	late := time.NewTimer(cmp.Or(e.KillAfter, defaultKillAfter))
	defer late.Stop()
	look := time.NewTicker(goneEvery)
	defer look.Stop()
	for ended, killed := false, false; ; {
		select {
		case err = <-c.over:
			ended = true
		case <-look.C:
		case s := <-e.Signals:
			final = final || asksToEnd(s)
			c.signal(s)
		case <-late.C:
			killed = true
			c.signal(syscall.SIGKILL)
		}
		if ended && (killed || c.gone()) {
			return final, err
		}
	}
}
