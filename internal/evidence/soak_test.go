//go:build evidence

package evidence_test

import (
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/evidence"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// shortSoak settles nothing that is kept for minutes, but goroutines and bucket. It counts goroutines: no other test may run
// beside it.
func shortSoak(t *testing.T) evidence.SoakConfig {
	t.Helper()
	return evidence.SoakConfig{
		Programs: built(t), Seed: 9, AtMost: 14 * time.Second, Every: time.Second, Credentials: 400, Life: 4 * time.Second,
	}
}

func TestNothingGrows(t *testing.T) {
	must(t, evidence.Soak(t.Context(), shortSoak(t), t.Output()))
}

// TestSoakTurnsRed: a worker leaves a goroutine behind with each attempt.
func TestSoakTurnsRed(t *testing.T) {
	cfg := shortSoak(t)
	end := make(chan struct{})
	defer close(end)
	cfg.Step = func(s refresh.Step) {
		if s == refresh.StepSettled {
			go func() { <-end }()
		}
	}
	err := evidence.Soak(t.Context(), cfg, t.Output())
	if err == nil || !strings.Contains(err.Error(), "goroutines grew by") {
		t.Errorf("%v; want that goroutines grew", err)
	}
}
