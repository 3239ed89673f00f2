//go:build evidence

package evidence_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/freshetdev/freshet/internal/evidence"
)

// programs builds what stages are made of, with the tag freshet_faults, for the first test that asks.
var programs func() (evidence.Programs, error)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "freshet-evidence-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = sync.OnceValues(func() (evidence.Programs, error) {
		return evidence.BuildPrograms(context.Background(), dir, "-tags", "freshet_faults")
	})
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// built returns the programs.
func built(t *testing.T) evidence.Programs {
	t.Helper()
	b, err := programs()
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
