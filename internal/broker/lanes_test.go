package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
)

func TestEnsureLane(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	slow := acme()
	slow.Limits = provider.Limits{Concurrency: 3, Timeout: provider.Duration(time.Minute)}
	rated := slow
	rated.Limits.Rate = 10
	for _, step := range []struct {
		name   string
		d      provider.Definition
		dryRun bool
		action broker.Action
		fields string
	}{
		{"dry run", acme(), true, broker.ActionCreate, ""},
		{"create", acme(), false, broker.ActionCreate, ""},
		{"again", acme(), false, broker.ActionOK, ""},
		{"update, dry run", slow, true, broker.ActionUpdate, "ack wait, max ack pending"},
		{"update", slow, false, broker.ActionUpdate, "ack wait, max ack pending"},
		{"again", slow, false, broker.ActionOK, ""},
		{"a rate", rated, false, broker.ActionUpdate, "rate"},
		{"again", rated, false, broker.ActionOK, ""},
		{"no rate", slow, false, broker.ActionUpdate, "rate"},
		{"again", slow, false, broker.ActionOK, ""},
	} {
		c, err := b.EnsureLane(t.Context(), step.d, step.dryRun)
		var fields []string
		for _, d := range c.Differences {
			fields = append(fields, d.Field)
		}
		if got := strings.Join(fields, ", "); err != nil || c.Action != step.action || got != step.fields || c.Kind != broker.KindLane {
			t.Errorf("%s: %+v, %v", step.name, c, err)
		}
	}
	cons, err := b.JetStream().Consumer(t.Context(), "REFRESH_JOBS", "acme")
	if err != nil {
		t.Fatal(err)
	}
	cfg := cons.CachedInfo().Config
	full := slow.WithDefaults()
	if cfg.MaxDeliver != -1 || cfg.AckPolicy != jetstream.AckExplicitPolicy || cfg.FilterSubject != "refresh.jobs.acme.>" ||
		cfg.MaxAckPending != 3 || cfg.AckWait != full.Timing().AckWait {
		t.Errorf("consumer %+v", cfg)
	}
}

func TestForeignLaneIsReportedAndLeft(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	_, err := b.JetStream().CreateConsumer(t.Context(), "REFRESH_JOBS", jetstream.ConsumerConfig{
		Durable: "acme", FilterSubject: "refresh.jobs.acme.>", MaxDeliver: 5,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c, err := b.EnsureLane(t.Context(), acme(), false)
		if err != nil || c.Action != broker.ActionDiffer || len(c.Differences) == 0 {
			t.Fatalf("%+v, %v", c, err)
		}
	}
}

func TestLaneThatIsNotThere(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if _, err := b.Lane(t.Context(), "acme"); !errors.Is(err, broker.ErrNoLane) {
		t.Errorf("bind: %v", err)
	}
	if _, err := b.LaneInfo(t.Context(), "acme"); !errors.Is(err, broker.ErrNoLane) || !strings.Contains(err.Error(), "freshet apply") {
		t.Errorf("info: %v", err)
	}
}

func TestRateThatCannotBeKeptIsRefused(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	d := acme()
	d.Limits.Rate = provider.Rate(1.0 / 3600)
	if _, err := b.EnsureLane(t.Context(), d, false); err == nil || !strings.Contains(err.Error(), "6/h") {
		t.Errorf("want the slowest rate named, got %v", err)
	}
	d.Limits.Rate = provider.Rate(6.0 / 3600)
	if _, err := b.EnsureLane(t.Context(), d, false); err != nil {
		t.Error(err)
	}
}
