//go:build evidence

package evidence_test

import (
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/evidence"
)

// A sample of the crash points, another one each time.
func TestCrashPointsEndAsDesigned(t *testing.T) {
	t.Parallel()
	cfg := evidence.CrashConfig{Cases: 25, Parallel: 25, Programs: built(t)}
	if err := evidence.CrashPoints(t.Context(), cfg, t.Output()); err != nil {
		t.Error(err)
	}
}

// The classic mistakes, each in a case that must find it.
func TestCrashPointsTurnRedWithEachMistake(t *testing.T) {
	t.Parallel()
	programs := built(t)
	for mistake, tc := range map[string]struct{ only, finding string }{
		// Without a claim the next worker does not know that somebody presented the refresh token.
		"no_claim": {"strict/killed/answered", "1 refresh tokens replayed"},
		// The answer was in the memory of what was killed, and the same host has nothing to commit.
		"late_journal": {"strict/returned/commit", "the record is uncertain, and nothing was to be in doubt"},
		// The next worker knows, and does it all the same.
		"blind_retry": {"strict/killed/commit", "1 refresh tokens replayed"},
		// The frozen worker wakes up and puts its token in the place of the newer one.
		"overwrite": {"grace/frozen/answered", "versions: 4, want 3"},
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			cfg := evidence.CrashConfig{Only: tc.only, Mistake: mistake, Programs: programs}
			err := evidence.CrashPoints(t.Context(), cfg, t.Output())
			if err == nil || !strings.Contains(err.Error(), tc.finding) {
				t.Errorf("%s with %s: %v; want %q", tc.only, mistake, err, tc.finding)
			}
		})
	}
}
