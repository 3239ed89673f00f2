package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
)

func actions(changes []broker.Change) string {
	var words []string
	for _, c := range changes {
		word := c.Kind + " " + c.Name + " " + string(c.Action)
		for _, d := range c.Differences {
			word += " (" + d.Field + ": " + d.Have + ", want " + d.Want + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func TestSetupIsIdempotent(t *testing.T) {
	t.Parallel()
	b := newBroker(t, startServer(t, natstest.Options{}).connect(), broker.Config{})
	want := "bucket tokens W, bucket providers W, bucket enrollments W, stream REFRESH_JOBS W, stream TOKEN_EVENTS W, stream AUDIT W"
	for _, step := range []struct {
		cfg  broker.SetupConfig
		word string
	}{
		{broker.SetupConfig{DryRun: true}, "create"},
		{broker.SetupConfig{}, "create"},
		{broker.SetupConfig{}, "ok"},
		{broker.SetupConfig{DryRun: true, Replicas: 1, EventsMaxAge: 7 * 24 * time.Hour, AuditMaxAge: 400 * 24 * time.Hour}, "ok"},
	} {
		changes, err := b.Setup(t.Context(), step.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := actions(changes), strings.ReplaceAll(want, "W", step.word); got != want {
			t.Errorf("%+v:\n got %s\nwant %s", step.cfg, got, want)
		}
	}
}

func TestDryRunCreatesNothing(t *testing.T) {
	t.Parallel()
	b := newBroker(t, startServer(t, natstest.Options{}).connect(), broker.Config{})
	if _, err := b.Setup(t.Context(), broker.SetupConfig{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	err := b.Check(t.Context())
	if !errors.Is(err, broker.ErrNotSetUp) {
		t.Fatalf("want ErrNotSetUp, got %v", err)
	}
	for _, word := range []string{"bucket tokens", "bucket providers", "stream REFRESH_JOBS", "stream TOKEN_EVENTS", "freshet setup"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("want %q named in %q", word, err)
		}
	}
}

func TestCheckNamesOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.JetStream().DeleteStream(t.Context(), "REFRESH_JOBS"); err != nil {
		t.Fatal(err)
	}
	err := b.Check(t.Context())
	if !errors.Is(err, broker.ErrNotSetUp) || !strings.Contains(err.Error(), "REFRESH_JOBS") || strings.Contains(err.Error(), "tokens") {
		t.Fatalf("got %v", err)
	}
}

func TestSetupReportsDifferencesAndLeavesThem(t *testing.T) {
	t.Parallel()
	b := newBroker(t, startServer(t, natstest.Options{}).connect(), broker.Config{})
	_, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "KV_tokens", Subjects: []string{"$KV.tokens.>"}, MaxMsgsPerSubject: 5, MaxAge: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		changes, err := b.Setup(t.Context(), broker.SetupConfig{})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		for _, d := range changes[0].Differences {
			have[d.Field] = d.Have + " -> " + d.Want
		}
		if changes[0].Action != broker.ActionDiffer || have["max messages per subject"] != "5 -> 1" || have["max age"] != "1h0m0s -> 0s" {
			t.Fatalf("got %s with %v", changes[0].Action, have)
		}
	}
}

func TestSetupOfAskedForSettings(t *testing.T) {
	t.Parallel()
	b := newBroker(t, startServer(t, natstest.Options{}).connect(), broker.Config{})
	if _, err := b.Setup(t.Context(), broker.SetupConfig{EventsMaxAge: 48 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		cfg     broker.SetupConfig
		differs int
	}{
		{"unsaid settings stay", broker.SetupConfig{}, 0},
		{"another age", broker.SetupConfig{EventsMaxAge: time.Hour}, 1},
		{"another age of entries", broker.SetupConfig{AuditMaxAge: broker.Forever}, 1},
		{"other replicas", broker.SetupConfig{Replicas: 3}, 6},
	} {
		changes, err := b.Setup(t.Context(), tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(actions(changes), "differs"); got != tt.differs {
			t.Errorf("%s: %s", tt.name, actions(changes))
		}
	}
}

func TestBucketsOpenAsBuckets(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	for _, name := range []string{"tokens", "providers"} {
		if _, err := b.JetStream().KeyValue(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnsetUpServerSaysWhatToDo(t *testing.T) {
	t.Parallel()
	b := newBroker(t, startServer(t, natstest.Options{}).connect(), broker.Config{})
	_, err := b.Get(t.Context(), credential("alice"))
	if !errors.Is(err, broker.ErrNotSetUp) || !strings.Contains(err.Error(), "freshet setup") {
		t.Fatalf("got %v", err)
	}
}

func TestNamespacesDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{})
	brokers := map[string]*broker.Broker{}
	for _, ns := range []string{"", "staging", "prod"} {
		names, err := events.NewNames(ns)
		if err != nil {
			t.Fatal(err)
		}
		b := newBroker(t, n.connect(), broker.Config{Names: names})
		mustSetup(t, b)
		mustLane(t, b, acme())
		brokers[ns] = b
	}
	mustPut(t, brokers["staging"], record("alice", 1), 0)
	mustQueue(t, brokers["staging"], "alice")
	for ns, b := range brokers {
		seen := 0
		err := b.WatchRecords(t.Context(), broker.WatchConfig{Once: true}, func(broker.Seen) { seen++ }, nil)
		if err != nil {
			t.Fatal(err)
		}
		info, err := b.LaneInfo(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"staging": 1}[ns]; seen != want || int(info.Pending) != want {
			t.Errorf("namespace %q: %d records, %d jobs, want %d", ns, seen, info.Pending, want)
		}
	}
}

// A rollup drops what is below other subjects than its own. No permission sees headers, so the streams themselves refuse it.
func TestNobodyWritesOverTheKeysOfOthers(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	mustPut(t, b, record("alice", 1), 0)
	for bucket, subject := range map[string]string{
		"KV_tokens": "$KV.tokens.acme.mallory", "KV_providers": "$KV.providers.mallory", "KV_enrollments": "$KV.enrollments.mallory",
	} {
		for _, what := range []string{"all", "sub"} {
			msg := &nats.Msg{Subject: subject, Header: nats.Header{"Nats-Rollup": {what}}}
			if _, err := b.JetStream().PublishMsg(t.Context(), msg); err == nil {
				t.Errorf("%s takes a rollup of %s", bucket, what)
			}
		}
	}
	if _, err := b.Get(t.Context(), credential("alice")); err != nil {
		t.Error(err)
	}
}
