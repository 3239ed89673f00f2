package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/pkg/seal"
)

// maxOutput is how much of a command's output is logged, in bytes.
const maxOutput = 4 << 10

// followed reports whether anything is to follow a change of the file.
func (f File) followed() bool { return f.Signal != "" || f.Shell != "" || len(f.Command) > 0 }

// follow does what is to follow a change of the file.
func (f File) follow(ctx context.Context, token seal.Secret, log zerolog.Logger) error {
	switch {
	case f.Signal != "":
		return f.tell()
	case f.Shell != "":
		return f.start(ctx, []string{"/bin/sh", "-c", f.Shell}, token, log)
	case len(f.Command) > 0:
		return f.start(ctx, f.Command, token, log)
	}
	return nil
}

// tell sends the signal to the process that the PID file names.
func (f File) tell() error {
	data, err := os.ReadFile(f.PIDFile)
	if err != nil {
		return fmt.Errorf("read pid_file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 { // 0 and below are groups of processes, 1 is init
		return fmt.Errorf("pid_file %s: want the number of a process", f.PIDFile)
	}
	if err := syscall.Kill(pid, signals()[f.Signal]); err != nil {
		return fmt.Errorf("send %s to process %d: %w", f.Signal, pid, err)
	}
	return nil
}

// start runs a command to its end, or to the end of its time, when everything it started is killed.
func (f File) start(ctx context.Context, args []string, token seal.Secret, log zerolog.Logger) error {
	timeout := cmp.Or(f.Timeout, defaultTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	out := &tail{limit: maxOutput}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(Inherited(os.Environ()), "FRESHET_FILE="+f.Path, "FRESHET_CREDENTIAL="+f.Credential)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what it started and what left the group
	err := cmd.Run()
	if text := strings.ReplaceAll(out.lines(), token.Reveal(), token.String()); text != "" {
		log.Info().Str("command", args[0]).Str("output", text).Msg("what the command said")
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s: not done after %s, and killed", args[0], timeout)
	case err != nil:
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

// Inherited is what of our environment others may have, as os.Environ writes it: everything but keysets, and what proves to NATS who
// we are.
func Inherited(all []string) (env []string) {
	for _, v := range all {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "FRESHET_GRANT_KEYSET", "FRESHET_ACCESS_KEYSET", "NATS_PASSWORD":
			continue
		case "NATS_URL":
			if strings.Contains(value, "@") { // a password or a token
				continue
			}
		}
		env = append(env, v)
	}
	return env
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int
	buf   bytes.Buffer
	over  bool // the beginning is gone
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - t.limit; over > 0 {
		t.buf.Next(over)
		t.over = true
	}
	return len(p), nil
}

// lines are those that are there as a whole: half a token would not be found in half a line.
func (t *tail) lines() string {
	text := t.buf.String()
	if t.over {
		_, text, _ = strings.Cut(text, "\n")
	}
	return strings.TrimSpace(text)
}
