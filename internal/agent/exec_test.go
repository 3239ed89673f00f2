package agent_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/agent"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// running is a command under Exec.
type running struct {
	out     *lockedBuffer
	signals chan os.Signal
	over    chan error
}

func (s *stage) exec(change func(*agent.Exec), script string) running {
	s.t.Helper()
	r := running{out: &lockedBuffer{}, signals: make(chan os.Signal, 1), over: make(chan error, 1)}
	v, err := agent.ParseVariable("TOKEN=acme/alice")
	if err != nil {
		s.t.Fatal(err)
	}
	e := agent.Exec{
		Args: []string{"sh", "-c", script}, Env: []agent.Variable{v}, Client: s.client,
		Signals: r.signals, Out: r.out, Err: r.out, Log: nopLog(), KillAfter: 50 * time.Millisecond, Settle: time.Millisecond,
	}
	change(&e)
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	go func() { r.over <- e.Run(ctx, patience) }()
	return r
}

func (r running) awaits(t *testing.T, text string) {
	t.Helper()
	await(t, text, func() bool { return strings.Contains(r.out.String(), text) })
}

// stay keeps a shell that can hear signals, and ends by itself when the test was killed.
const stay = `; i=0; while [ $i -lt 3000 ]; do sleep 0.02; i=$((i+1)); done`

func asItIs(*agent.Exec) {}

func TestACommandHasTheTokenAndItsEndIsOurs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	access := s.put("alice", 1, refresh.StateActive)
	r := s.exec(asItIs, `echo "has $TOKEN"; exit 7`)
	var exit *agent.ExitError
	if err := <-r.over; !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("ended with %v", err)
	}
	if r.out.String() != "has "+access+"\n" {
		t.Errorf("said %q", r.out)
	}
	if err := <-s.exec(asItIs, "true").over; err != nil {
		t.Errorf("a good end: %v", err)
	}
	if err := <-s.exec(asItIs, "kill -9 $$").over; !errors.As(err, &exit) || exit.Code != 137 {
		t.Errorf("killed: %v", err)
	}
	if err := <-s.exec(func(e *agent.Exec) { e.Args = []string{filepath.Join(t.TempDir(), "nosuch")} }, "").over; !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such command: %v", err)
	}
	nobody := func(e *agent.Exec) { e.Env = []agent.Variable{{Name: "T", Credential: "acme/nobody"}} }
	if err := <-s.exec(nobody, "echo started").over; !errors.Is(err, tokens.ErrNotFound) {
		t.Errorf("no such credential: %v", err)
	}
}

func TestACommandIsStartedAgainWithTheNewToken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := s.put("alice", 1, refresh.StateActive)
	patient := func(e *agent.Exec) { e.KillAfter = time.Second } // enough for a shell that gets no processor for a while
	r := s.exec(patient, `trap 'echo ended' TERM; echo "has $TOKEN"`+stay)
	r.awaits(t, "has "+first)
	r.awaits(t, "has "+s.put("alice", 2, refresh.StateActive)) // this shell goes on after SIGTERM, and is killed
	if !strings.Contains(r.out.String(), "ended\n") {
		t.Errorf("it was not asked to end: %q", r.out)
	}
	r.signals <- syscall.SIGKILL
	var exit *agent.ExitError
	if err := <-r.over; !errors.As(err, &exit) || exit.Code != 137 {
		t.Errorf("ended with %v", err)
	}
}

func TestACommandThatIsAskedToEndIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	const slow = `trap 'echo ending' TERM; trap 'exit 5' USR1; echo up` + stay
	for name, before := range map[string]bool{"before a change": true, "during a restart": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.put("alice", 1, refresh.StateActive)
			log := &lockedBuffer{}
			r := s.exec(func(e *agent.Exec) { e.KillAfter, e.Log = patience, zerolog.New(log) }, slow)
			r.awaits(t, "up\n")
			if before {
				r.signals <- syscall.SIGTERM
				r.awaits(t, "ending\n")
				s.put("alice", 2, refresh.StateActive)
				await(t, "the change", func() bool { return strings.Contains(log.String(), "left to it") })
			} else {
				s.put("alice", 2, refresh.StateActive)
				r.awaits(t, "ending\n")
				r.signals <- syscall.SIGTERM
				await(t, "ending twice", func() bool { return strings.Count(r.out.String(), "ending\n") == 2 })
			}
			r.signals <- syscall.SIGUSR1
			var exit *agent.ExitError
			if err := <-r.over; !errors.As(err, &exit) || exit.Code != 5 || strings.Count(r.out.String(), "up\n") != 1 {
				t.Errorf("ended with %v, and said %q", err, r.out)
			}
		})
	}
}

func TestACommandThatHasEndedIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	e := agent.Exec{Args: []string{"sh", "-c", "exit 7"}, Log: nopLog()}
	final, err := e.EndAfterItsEnd(func(over func() bool) { await(t, "its end", over) })
	var exit *agent.ExitError
	if !final || !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("final %t, %v", final, err)
	}
}

func TestACommandMayBeToldInstead(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put("alice", 1, refresh.StateActive)
	r := s.exec(func(e *agent.Exec) { e.Signal = syscall.SIGUSR2 }, `trap 'echo told' USR2; trap 'echo forwarded; exit 3' USR1; echo up`+stay)
	r.awaits(t, "up\n")
	s.put("alice", 2, refresh.StateActive)
	r.awaits(t, "told\n")
	r.signals <- syscall.SIGUSR1
	var exit *agent.ExitError
	if err := <-r.over; !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("ended with %v", err)
	}
	if got := r.out.String(); got != "up\ntold\nforwarded\n" {
		t.Errorf("said %q", got)
	}
}

func TestFilesAreWrittenBeforeTheCommandHearsOfThem(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := s.put("alice", 1, refresh.StateActive)
	path := filepath.Join(t.TempDir(), "token")
	a, err := agent.Open(t.Context(), agent.Config{Files: []agent.File{{Credential: "acme/alice", Path: path}}}, s.client, nopLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	withFile := func(e *agent.Exec) { e.Env, e.Agent, e.Signal = nil, a, syscall.SIGUSR2 }
	r := s.exec(withFile, `show() { echo "has $(cat '`+path+`')"; }; trap show USR2; trap 'exit 0' TERM; show`+stay)
	r.awaits(t, "has "+first)
	r.awaits(t, "has "+s.put("alice", 2, refresh.StateActive))
	r.signals <- syscall.SIGTERM
	if err := <-r.over; err != nil {
		t.Errorf("ended with %v", err)
	}
	if strings.Count(r.out.String(), first) != 1 {
		t.Errorf("it was told before the file was written: %q", r.out)
	}
}

func TestManyChangesAtOnceAreOneRestart(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put("alice", 1, refresh.StateActive)
	r := s.exec(func(e *agent.Exec) { e.Settle = time.Second }, `echo "has $TOKEN"`+stay)
	r.awaits(t, "has ")
	last := ""
	for version := range uint64(4) {
		last = s.put("alice", version+2, refresh.StateActive)
	}
	r.awaits(t, "has "+last)
	if n := strings.Count(r.out.String(), "has "); n != 2 {
		t.Errorf("started %d times: %q", n, r.out)
	}
	r.signals <- syscall.SIGKILL
	<-r.over
}

// TestSignalsReachWhatAShellHasStarted: the end of a pipe comes when the last that could write to it is gone.
func TestSignalsReachWhatAShellHasStarted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		script string
		again  bool // it is started again before
		end    syscall.Signal
	}{
		"forwarded":                       {`sleep 600 & echo up; wait`, false, syscall.SIGTERM},
		"at a restart":                    {`sleep 600 & echo up; wait`, true, syscall.SIGTERM},
		"at a restart, deaf ones as well": {`(trap "" TERM; exec sleep 600) & echo up; wait`, true, syscall.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.put("alice", 1, refresh.StateActive)
			in, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			var said lockedBuffer
			ended := make(chan error, 1)
			go func() { _, err := io.Copy(&said, in); ended <- err }()
			r := s.exec(func(e *agent.Exec) { e.Out, e.Err = out, out }, tt.script)
			ups := func(n int) func() bool { return func() bool { return strings.Count(said.String(), "up\n") == n } }
			await(t, "the command", ups(1))
			if tt.again {
				s.put("alice", 2, refresh.StateActive)
				await(t, "the command again", ups(2))
			}
			r.signals <- tt.end
			var exit *agent.ExitError
			if err := <-r.over; !errors.As(err, &exit) || exit.Code != 128+int(tt.end) {
				t.Errorf("ended with %v", err)
			}
			out.Close()
			select {
			case <-ended:
			case <-time.After(patience):
				t.Error("something is left of it")
			}
			in.Close()
		})
	}
}
