package journal_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/journal"
)

// childDir is the environment variable that makes the test binary append to the journal there.
const childDir = "JOURNAL_TEST_CHILD"

// appendUntilKilled appends from many goroutines and says on stdout what it has done: "+id" after an append, "-id"
// before a retirement. The bound is small, so that segments begin all the time.
func appendUntilKilled(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	j, err := journal.Open(dir, journal.Config{MaxBytes: 256 << 10, OnError: fail})
	if err != nil {
		fail(err)
	}
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				if err := j.Append(entry(id)); errors.Is(err, journal.ErrFull) {
					continue
				} else if err != nil {
					fail(err)
				}
				fmt.Println("+" + id)
				if i%20 == 0 {
					continue // these stay
				}
				fmt.Println("-" + id)
				if err := j.Retire(id); err != nil {
					fail(err)
				}
			}
		}()
	}
	select {}
}

func TestAKilledProcessLosesNothingItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stay := map[string]bool{}
	for round := range 5 {
		killed := runAndKill(t, dir, 500+1337*round)
		for _, line := range killed {
			id := line[1:]
			if stay[id] = line[0] == '+'; !stay[id] {
				delete(stay, id)
			}
		}
		j := mustOpen(t, dir, journal.Config{})
		pending := map[string]bool{}
		for _, id := range ids(t, j.Pending()) {
			pending[id] = true
		}
		for id := range stay {
			if !pending[id] {
				t.Errorf("round %d: %s was acknowledged and is gone", round, id)
			}
		}
		mustClose(t, j)
	}
	if len(stay) < 100 {
		t.Fatalf("only %d entries stayed: the test is too weak", len(stay))
	}
}

// runAndKill starts the child, kills it when it has said enough, and returns all it said.
func runAndKill(t *testing.T, dir string, enough int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var lines []string
	for s := bufio.NewScanner(out); s.Scan(); {
		if lines = append(lines, s.Text()); len(lines) == enough {
			_, err := journal.Open(dir, journal.Config{})
			wantError(t, err, journal.ErrLocked)
			must(t, cmd.Process.Kill())
		}
	}
	if err := cmd.Wait(); len(lines) < enough {
		t.Fatalf("the child ended by itself: %v: %s", err, stderr.String())
	}
	return lines
}
