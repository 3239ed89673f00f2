//go:build evidence

package evidence_test

import (
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/evidence"
)

func shortFreshness(t *testing.T, latency time.Duration, ends bool) error {
	t.Helper()
	return evidence.Freshness(t.Context(), evidence.FreshnessConfig{
		Programs: built(t), Seed: 22, Connections: 150, Life: 18 * time.Second, Duration: 8 * time.Second, KillEvery: 700 * time.Millisecond,
		Timeout: 2 * time.Second, Latency: latency, Ends: ends,
	}, t.Output())
}

func TestReadersUseNoDeadTokenWhileProcessesAreKilled(t *testing.T) {
	t.Parallel()
	must(t, shortFreshness(t, 0, false))
}

// No reader can help it where a provider ends the tokens before with each refresh; so the experiment must see it.
func TestTheResourceSeesDeadTokens(t *testing.T) {
	t.Parallel()
	wantRed(t, shortFreshness(t, time.Second, true), "the resource refused")
}
