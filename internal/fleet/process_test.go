package fleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
)

func TestALogHasLinesHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	l := new(fleet.Log)
	for _, part := range []string{"one\ntw", "o\n", "\nfour"} {
		n, err := fmt.Fprint(l, part)
		must(t, err)
		wantEqual(t, "bytes taken", n, len(part))
	}
	if got, want := l.Lines(), []string{"one", "two", "", "four"}; !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
	wantEqual(t, "lines with an o", l.Count("o"), 3)
	wantEqual(t, "tail", l.Tail(2), "\nfour")
	wantEqual(t, "tail of more than there is", l.Tail(9), "one\ntwo\n\nfour")
}

// version is a process that says one line and ends.
func version(t *testing.T) *fleet.Process {
	t.Helper()
	p, err := fleet.Command{Name: "freshet version", Path: programs.Freshet, Args: []string{"version"}}.Launch()
	must(t, err)
	return p
}

func TestAwaitHearsTheLastWords(t *testing.T) {
	t.Parallel()
	ctx := within(t, 30*time.Second)
	p := version(t)
	must(t, p.Await(ctx, "freshet", 1))
	err := p.Await(ctx, "freshet", 2)
	if err == nil || !strings.Contains(err.Error(), `ended and had not said "freshet" 2 times`) {
		t.Errorf("Await of what is never said: %v", err)
	}
	code, err := p.Wait(ctx)
	must(t, err)
	wantEqual(t, "exit code", code, 0)
	must(t, p.Kill()) // it has ended: fine
}

// A setting of the caller's own shell must not decide what a fleet does.
func TestProcessesInheritNoSettings(t *testing.T) {
	t.Setenv("NATS_URL", "nats://elsewhere.example:4222")
	t.Setenv("FRESHET_NAMESPACE", "staging")
	c := fleet.Command{Name: "env", Path: "/usr/bin/env", Env: []string{"MINE=1"}}
	out, err := c.Run(within(t, 30*time.Second))
	must(t, err)
	if strings.Contains(out.Stdout, "elsewhere") || strings.Contains(out.Stdout, "staging") || !strings.Contains(out.Stdout, "MINE=1\n") {
		t.Errorf("environment of a process:\n%s", out.Stdout)
	}
}

func TestStartSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := fleet.Start(t.Context(), fleet.Config{Auth: authserver.Config{
		Rotation: "sometimes", Clients: []authserver.Client{{ID: "mine"}},
	}})
	for _, want := range []string{"set Dir", "set Binaries", "leave Auth.Clients empty", `unknown Rotation "sometimes"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start: %v; want %q in it", err, want)
		}
	}
}
