//go:build evidence

package evidence_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/evidence"
)

// shortKill runs one part.
func shortKill(t *testing.T, part, mistake string) error {
	t.Helper()
	return evidence.Kill(t.Context(), evidence.KillConfig{
		Programs: built(t), Seed: 20, Parts: []string{part}, Rotations: 60, Kills: 8, Credentials: 120, Mistake: mistake,
	}, t.Output())
}

func TestKillingProcessesAtRandomBreaksNoGuarantee(t *testing.T) {
	t.Parallel()
	// The others of the long form are in "mixed".
	for _, part := range []string{"worker", "mixed", "exchanger", "bare", "grace", "reply"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			must(t, shortKill(t, part, ""))
		})
	}
}

func TestKillingShowsMistakes(t *testing.T) {
	t.Parallel()
	for mistake, want := range map[string]struct{ part, says string }{
		"blind_retry":  {"bare", "refresh tokens were replayed"},
		"no_claim":     {"bare", "refresh tokens were replayed"},
		"late_journal": {"reply", "grants are lost"},
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			wantRed(t, shortKill(t, want.part, mistake), want.says)
		})
	}
}

func TestThePartsOfTheKillingHaveNames(t *testing.T) {
	t.Parallel()
	want := "worker scheduler nats reader mixed exchanger bare grace reply"
	if got := strings.Join(evidence.KillParts(), " "); got != want {
		t.Errorf("parts %q, want %q", got, want)
	}
}

// wantRed wants an experiment to have failed in these words.
func wantRed(t *testing.T, err error, says string) {
	t.Helper()
	if !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("the experiment ended with %v, want %q in it", err, says)
	}
}
