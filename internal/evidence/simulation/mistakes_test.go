package simulation_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSimulationFindsTheClassicMistakes builds the engine with each of them (build tag freshet_faults) and wants the
// simulation to say what is wrong.
func TestSimulationFindsTheClassicMistakes(t *testing.T) {
	t.Parallel()
	if os.Getenv("FRESHET_MISTAKE") != "" {
		return // this is the build that makes it
	}
	binary := filepath.Join(t.TempDir(), "simulation.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "freshet_faults", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for mistake, c := range map[string]struct{ class, finding string }{
		"no_claim":     {"strict", "(presented twice at once|were replayed)"},
		"late_journal": {"strict", "is lost, and nobody's death or answer explains it"},
		"blind_retry":  {"strict", "were replayed"},
		"overwrite":    {"strict", "(were replayed|is lost)"},
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			run := exec.CommandContext(t.Context(), binary, "-test.run=^TestSimulation$/^"+c.class+"$", "-rapid.seed=1",
				"-rapid.checks=2000", "-rapid.nofailfile", "-rapid.shrinktime=0")
			run.Env = append(os.Environ(), "FRESHET_MISTAKE="+mistake)
			out, err := run.CombinedOutput()
			text := string(out)
			if err == nil || !regexp.MustCompile(c.finding).MatchString(text) {
				t.Errorf("want %q, got %v:\n%s", c.finding, err, text[max(0, len(text)-4000):])
			}
			if _, found, ok := strings.Cut(text, "failed after "); ok {
				line, _, _ := strings.Cut(found, "\n")
				t.Logf("found after %s", line)
			}
		})
	}
}
