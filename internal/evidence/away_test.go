//go:build evidence

package evidence_test

import (
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/evidence"
)

// shortAway is long enough for a worker to give up hope for its commits (a little more than 7 s) and leave them to its
// journal.
func shortAway(t *testing.T) evidence.AwayConfig {
	t.Helper()
	return evidence.AwayConfig{
		Programs: built(t), Seed: 6, Away: 9 * time.Second, Credentials: 60, Life: 10 * time.Second, Timeout: time.Second,
	}
}

func TestNATSIsAwayUnderLoad(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"killed", "frozen"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			cfg := shortAway(t)
			cfg.Parts = []string{part}
			must(t, evidence.Away(t.Context(), cfg, t.Output()))
		})
	}
}

func TestAClusterFallsApart(t *testing.T) {
	t.Parallel()
	cfg := shortAway(t)
	cfg.Parts, cfg.Harms, cfg.Credentials, cfg.Life = []string{"cluster"}, 2, 200, 30*time.Second
	must(t, evidence.Away(t.Context(), cfg, t.Output()))
}

// TestAwayTurnsRed: a worker that presents a refresh token without a claim, and one that keeps its replies in memory until
// they are committed.
func TestAwayTurnsRed(t *testing.T) {
	t.Parallel()
	for mistake, want := range map[string]string{
		"no_claim":     "came without a claim",
		"late_journal": "replies in hand were not committed",
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			cfg := shortAway(t)
			cfg.Parts, cfg.Mistake, cfg.Within = []string{"killed"}, mistake, 8*time.Second
			err := evidence.Away(t.Context(), cfg, t.Output())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("with %s: %v; want %q", mistake, err, want)
			}
		})
	}
}
