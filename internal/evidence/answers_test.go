//go:build evidence

package evidence_test

import (
	"testing"

	"github.com/freshetdev/freshet/internal/evidence"
)

// shortAnswers loses enough answers to matter among few.
func shortAnswers(t *testing.T, mistake string) error {
	t.Helper()
	return evidence.Answers(t.Context(), evidence.AnswersConfig{
		Programs: built(t), Seed: 21, Rotations: 200, Credentials: 250, Share: 0.05, Mistake: mistake,
	}, t.Output())
}

func TestLostAnswersAreKnownAtOnce(t *testing.T) {
	t.Parallel()
	must(t, shortAnswers(t, ""))
}

func TestLostAnswersShowABlindRetry(t *testing.T) {
	t.Parallel()
	wantRed(t, shortAnswers(t, "blind_retry"), "refresh tokens were replayed")
}
