package telemetry_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// everything is a Telemetry in which every family has a series.
func everything() *telemetry.Telemetry {
	tel := telemetry.New("v1")
	tel.Show(telemetry.Source{
		NATS: func() (bool, uint64) { return true, 0 }, Offset: func() time.Duration { return 0 },
		Journal: func() journal.Stats { return journal.Stats{} }, Held: func() int { return 0 }, InFlight: func() int { return 0 },
		Lanes: func() map[string]broker.LaneInfo { return map[string]broker.LaneInfo{"acme": {}} },
		Schedule: func() schedule.Stats {
			return schedule.Stats{Providers: map[string]schedule.ProviderStats{"acme": {}}}
		},
	})
	tel.Result(refresh.Result{Credential: events.Credential{Provider: "acme"}, Class: refresh.ClassOK})
	tel.Published("acme", events.ReasonScheduled)
	return tel
}

// row is a family as the table of docs/operations.md has it.
func row(f *dto.MetricFamily) string {
	var labels []string
	for _, l := range f.GetMetric()[0].GetLabel() {
		labels = append(labels, "`"+l.GetName()+"`")
	}
	return "| `" + f.GetName() + "` | " + strings.ToLower(f.GetType().String()) + " | " + strings.Join(labels, " ") + " | " + f.GetHelp() + " |"
}

func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	families, err := everything().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]bool)
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "freshet_") {
			want[row(f)] = true
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "| `freshet_") && !want[line] {
			t.Errorf("docs/operations.md has a metric that there is not: %s", line)
		}
		delete(want, line)
	}
	if len(want) > 0 {
		t.Errorf("docs/operations.md lacks:\n%s", strings.Join(slices.Sorted(maps.Keys(want)), "\n"))
	}
}
