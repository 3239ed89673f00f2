package telemetry_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// receiver is an OTLP/HTTP receiver.
type receiver struct {
	mu       sync.Mutex
	requests []*http.Request
	bodies   []map[string]any
	refuse   int // how many requests it cannot take yet
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
	if r.refuse > 0 {
		r.refuse--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var body map[string]any
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.bodies = append(r.bodies, body)
}

// at walks into what JSON made.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

// process makes one span of a job that somebody sent.
func process(ctx context.Context, tel *telemetry.Telemetry, parent string) {
	job := refresh.Job{Reason: events.ReasonScheduled, Trace: events.Trace{Parent: parent}}
	tel.Tracer.In(events.Names{}).Process(ctx, events.Credential{Provider: "acme", Account: "alice"}, job, func(context.Context) refresh.Result {
		return refresh.Result{Class: refresh.ClassUnknown, Attempt: "att", After: 3}
	})
}

func TestSpansAreSentAsTheEnvironmentSays(t *testing.T) {
	t.Parallel()
	r := &receiver{refuse: 1}
	srv := httptest.NewServer(r)
	defer srv.Close()
	env := map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": srv.URL + "/", "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b, x-team=ids",
		"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
	}
	cfg := telemetry.Config{Service: "freshet-worker", Version: "v9", Getenv: func(name string) string { return env[name] }, TraceAccounts: true}
	err := telemetry.Run(t.Context(), cfg, func(ctx context.Context, tel *telemetry.Telemetry) error {
		process(ctx, tel, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		process(ctx, tel, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00") // its sender chose not to record
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.requests) != 2 || len(r.bodies) != 1 {
		t.Fatalf("%d requests, %d taken: want a second try of the one", len(r.requests), len(r.bodies))
	}
	req := r.requests[1]
	if req.URL.Path != "/v1/traces" || req.Header.Get("X-Key") != "a b" || req.Header.Get("X-Team") != "ids" || req.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", req.URL.Path, req.Header)
	}
	resource, _ := json.Marshal(at(r.bodies[0], "resourceSpans", 0, "resource"))
	for _, want := range []string{`"service.name","value":{"stringValue":"freshet-worker"}`, `"service.version","value":{"stringValue":"v9"}`} {
		if !strings.Contains(string(resource), want) {
			t.Errorf("resource: no %s in %s", want, resource)
		}
	}
	spans, _ := at(r.bodies[0], "resourceSpans", 0, "scopeSpans", 0, "spans").([]any)
	if len(spans) != 1 {
		t.Fatalf("%d spans: want that of the trace that is recorded", len(spans))
	}
	for field, want := range map[string]any{
		"traceId": "0af7651916cd43dd8448eb211c80319c", "parentSpanId": "b7ad6b7169203331", "name": "process refresh.jobs", "kind": 5.0,
	} {
		if got := at(spans[0], field); got != want {
			t.Errorf("%s is %v, want %v", field, got, want)
		}
	}
	if at(spans[0], "status", "code") != 2.0 || at(spans[0], "status", "message") != "unknown" {
		t.Errorf("status %v", at(spans[0], "status"))
	}
	text, _ := json.Marshal(spans[0])
	for _, want := range []string{
		`"messaging.system","value":{"stringValue":"nats"}`, `"freshet.account","value":{"stringValue":"alice"}`, `"freshet.version","value":{"intValue":"3"}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func TestNoSpansUnlessAskedFor(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"nothing set":       {},
		"switched off":      {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
		"no exporter":       {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
		"metrics elsewhere": {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"},
	} {
		cfg := telemetry.Config{Getenv: func(v string) string { return env[v] }}
		err := telemetry.Run(t.Context(), cfg, func(_ context.Context, tel *telemetry.Telemetry) error {
			if tel.Tracer != nil {
				t.Errorf("%s: spans are made", name)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongOTELVariablesAreNamedWithoutTheirValues(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
		"OTEL_EXPORTER_OTLP_HEADERS": "hunter2", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere/ca.pem",
	}
	cfg := telemetry.Config{Getenv: func(v string) string { return env[v] }}
	err := telemetry.Run(t.Context(), cfg, func(context.Context, *telemetry.Telemetry) error { t.Error("it began"); return nil })
	for _, want := range []string{"ENDPOINT: want a URL", "4318", "TIMEOUT: want milliseconds", "HEADERS: want NAME=VALUE", "CERTIFICATE: read authorities"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Error("the error repeats a header")
	}
}
