//go:build evidence

package evidence_test

import (
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/evidence"
)

func TestStormOfDuplicates(t *testing.T) {
	t.Parallel()
	cfg := evidence.StormConfig{Credentials: 60, Duration: 8 * time.Second, Programs: built(t)}
	must(t, evidence.Storm(t.Context(), cfg, t.Output()))
}

func TestStormFindsAWorkerWithoutClaims(t *testing.T) {
	t.Parallel()
	cfg := evidence.StormConfig{Credentials: 60, Duration: 8 * time.Second, Mistake: "no_claim", Programs: built(t)}
	err := evidence.Storm(t.Context(), cfg, t.Output())
	if err == nil || !strings.Contains(err.Error(), "presented twice at once") && !strings.Contains(err.Error(), "replayed") {
		t.Errorf("want the second presentations found, got %v", err)
	}
}
