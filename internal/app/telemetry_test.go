package app_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// startWatched starts a scheduler and a worker that show what they do.
func (f *fleet) startWatched(t *telemetry.Telemetry) {
	f.startProcess("s1", func(ctx context.Context, nc *nats.Conn, log zerolog.Logger) error {
		return app.RunScheduler(ctx, app.SchedulerConfig{Name: "s1", Conn: nc, Log: log, Telemetry: t})
	})
	f.startWorkerWith("w1", func(cfg *app.WorkerConfig) { cfg.Telemetry = t })
}

// due enrols an account whose access token has ended.
func (f *fleet) due(account string) events.Credential {
	return f.enrolFrom(f.auth, f.acme, account, func(g *enroll.NewGrant) {
		g.StartedAt, g.Lifetime = time.Now().Add(-time.Hour), 30*time.Minute
	})
}

// TestOneTraceFromTheSchedulerToTheSubscriber: what the scheduler began, the worker goes on with, and a subscriber hears of.
func TestOneTraceFromTheSchedulerToTheSubscriber(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	spans := tracetest.NewInMemoryExporter()
	tel := telemetry.New("v1")
	tel.Tracer = telemetry.NewTracer(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), false)
	heard := make(chan events.Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- events.Live(ctx, f.Conn(), events.SubscribeConfig{Names: f.Names(), OnReady: func() { close(ready) }}, func(e events.Event) { heard <- e })
	}()
	defer func() { cancel(); f.must(<-ended) }()
	<-ready
	f.startWatched(tel)
	c := f.due("alice")

	var e events.Event
	for e.Data.Version != 2 {
		e = <-heard
	}
	f.settle()
	ctx = propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier(e.Trace.Map()))
	at := trace.SpanContextFromContext(ctx)
	if !at.IsValid() {
		t.Fatalf("the event carries no trace: %+v", e.Trace)
	}
	parents := make(map[string]string)
	ids := make(map[trace.SpanID]string)
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID() == at.TraceID() {
			ids[s.SpanContext.SpanID()] = s.Name
		}
		for _, kv := range s.Attributes {
			if v := kv.Value.String(); strings.Contains(v, "alice") || strings.Contains(v, c.Key()) {
				t.Errorf("%s names the account: %s=%s", s.Name, kv.Key, v)
			}
		}
	}
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID() == at.TraceID() {
			parents[s.Name] = ids[s.Parent.SpanID()]
		}
	}
	const job = "process refresh.jobs"
	for name, parent := range map[string]string{
		"send refresh.jobs": "", job: "send refresh.jobs", "claim": job, "POST token endpoint": job, "commit": job, "send token.updated": job,
	} {
		if got, ok := parents[name]; !ok || got != parent {
			t.Errorf("%q is below %q, want %q; all: %v", name, got, parent, parents)
		}
	}
	if ids[at.SpanID()] != "send token.updated" {
		t.Errorf("the event points to %q", ids[at.SpanID()])
	}
}

// TestWhatAProcessShows: the metrics after real refreshes, and readiness from the start to the end.
func TestWhatAProcessShows(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	tel := telemetry.New("v1.2.3")
	h := tel.Handler(seal.Secret{})
	if status, body := fetch(t, h, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"ready":false`) {
		t.Errorf("before the start: %d %s", status, body)
	}
	f.startWatched(tel)
	f.due("alice")
	waitFor(t, "readiness", func() bool { status, _ := fetch(t, h, "/readyz"); return status == http.StatusOK })
	waitFor(t, "the refresh", func() bool {
		_, body := fetch(t, h, "/metrics")
		return strings.Contains(body, `freshet_refresh_total{outcome="ok",provider="acme"} 1`)
	})
	_, ready := fetch(t, h, "/readyz")
	for _, check := range []string{"started", "nats", "clock", "journal", "providers", "lanes", "records"} {
		if !strings.Contains(ready, `{"name":"`+check+`","ok":true}`) {
			t.Errorf("no check of %s in %s", check, ready)
		}
	}
	var body string
	waitFor(t, "the index", func() bool {
		_, body = fetch(t, h, "/metrics")
		return strings.Contains(body, `freshet_credentials{provider="acme",state="active"} 1`)
	})
	for _, line := range []string{
		`freshet_build_info{goversion="go`, `freshet_nats_connected 1`, `freshet_journal_entries{state="recent"} 1`,
		`freshet_refresh_margin_seconds_bucket{provider="acme",le="0"} 1`, `freshet_exchange_duration_seconds_count{provider="acme"} 1`,
		`freshet_queue_wait_seconds_count{provider="acme"} 1`, `freshet_events_total{provider="acme",type="token.updated"} `,
		`freshet_credentials{provider="acme",state="reauth_required"} 0`, `freshet_schedule_jobs_total{provider="acme",reason="scheduled"} 1`,
		`freshet_schedule_lag_seconds_count 1`, `freshet_schedule_live 1`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("no %s", line)
		}
	}
	if strings.Contains(body, "alice") {
		t.Error("a label names an account")
	}
	f.settle()
}

// fetch asks a handler as somebody on this machine would.
func fetch(t *testing.T, h http.Handler, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil))
	return w.Code, w.Body.String()
}

// TestReadinessFallsWhileNATSIsAway: and comes back with it.
func TestReadinessFallsWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	tel := telemetry.New("v1")
	h := tel.Handler(seal.Secret{})
	f.startWatched(tel)
	is := func(want int) func() bool {
		return func() bool { status, _ := fetch(t, h, "/readyz"); return status == want }
	}
	waitFor(t, "readiness", is(http.StatusOK))
	f.nats.Stop()
	waitFor(t, "its end", is(http.StatusServiceUnavailable))
	if _, body := fetch(t, h, "/readyz"); !strings.Contains(body, `{"name":"nats","ok":false`) {
		t.Errorf("readyz: %s", body)
	}
	if status, _ := fetch(t, h, "/livez"); status != http.StatusOK {
		t.Errorf("livez: %d: a restart would not bring NATS back", status)
	}
	f.must(f.nats.Start())
	waitFor(t, "readiness again", is(http.StatusOK))
	f.settle()
}

// TestEachJobHasATraceOfItsOwn keeps two jobs' traces apart.
func TestEachJobHasATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	tel := telemetry.New("v1")
	tel.Tracer = telemetry.NewTracer(sdktrace.NewTracerProvider(), false)
	f.startWatched(tel)
	f.due("alice")
	f.due("bob")
	var traces []string
	waitFor(t, "both refreshes", func() bool {
		traces = nil
		for _, e := range f.toldOf(events.TokenUpdated) {
			if e.Data.Version == 2 {
				traces = append(traces, e.Trace.Parent[:35])
			}
		}
		return len(traces) == 2
	})
	if slices.Sort(traces); traces[0] == traces[1] {
		t.Errorf("one trace of two jobs: %s", traces[0])
	}
	f.settle()
}
