package telemetry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/freshetdev/freshet/pkg/events"
)

// scope is what our spans are found under.
const scope = "github.com/freshetdev/freshet"

// Attributes of our own. The others are OpenTelemetry's; of those for messaging (in development) nats is not yet a listed value.
const (
	attrProvider  = "freshet.provider"
	attrAccount   = "freshet.account"
	attrReason    = "freshet.reason"
	attrOutcome   = "freshet.outcome"
	attrAttempt   = "freshet.attempt"
	attrVersion   = "freshet.version"
	attrErrorType = "error.type"
)

// Tracer makes spans. A nil Tracer makes none, and its wrappers return what they were given.
type Tracer struct {
	tracer   trace.Tracer
	accounts bool
	names    events.Names
}

// NewTracer returns a Tracer on somebody else's provider of spans.
func NewTracer(p trace.TracerProvider, accounts bool) *Tracer {
	return &Tracer{tracer: p.Tracer(scope), accounts: accounts}
}

// In returns the Tracer for the streams of a namespace.
func (t *Tracer) In(names events.Names) *Tracer {
	if t == nil {
		return nil
	}
	other := *t
	other.names = names
	return &other
}

// quietFor is how long nothing more is said of spans that cannot be sent.
const quietFor = time.Minute

// trace sets the Tracer up, where the environment names an endpoint; stop sends what is left.
func (t *Telemetry) trace(cfg Config) (stop func(), err error) {
	if cfg.Getenv == nil {
		return func() {}, nil
	}
	address := endpoint(cfg.Getenv)
	if address == "" {
		return func() {}, nil
	}
	var last time.Time // ExportSpans is called from one goroutine
	out, err := newExporter(address, cfg.Getenv, func(err error) {
		if time.Since(last) > quietFor {
			last = time.Now()
			cfg.Log.Warn().Err(err).Msg("spans are lost: see whether the receiver that OTEL_EXPORTER_OTLP_ENDPOINT names takes OTLP/HTTP there")
		}
	})
	if err != nil {
		return nil, err
	}
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", cfg.Service), attribute.String("service.version", cfg.Version),
	), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(out), sdktrace.WithResource(about))
	t.Tracer = NewTracer(p, cfg.TraceAccounts)
	cfg.Log.Info().Bool("accounts", cfg.TraceAccounts).Msg("spans are sent")
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
		defer cancel()
		_ = p.Shutdown(ctx) // the exporter has said what was lost
	}, nil
}

// about are the attributes that name a credential, as far as they may.
func (t *Tracer) about(c events.Credential) []attribute.KeyValue {
	kvs := []attribute.KeyValue{attribute.String(attrProvider, c.Provider)}
	if t.accounts {
		kvs = append(kvs, attribute.String(attrAccount, c.Account))
	}
	return kvs
}

// messaging are the attributes of a message's way over a stream.
func messaging(kind, name, stream, template string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.type", kind),
		attribute.String("messaging.operation.name", name), attribute.String("messaging.destination.name", stream),
		attribute.String("messaging.destination.template", template),
	}
}

func (t *Tracer) start(ctx context.Context, name string, kind trace.SpanKind, kvs ...[]attribute.KeyValue) (context.Context, trace.Span) {
	opts := []trace.SpanStartOption{trace.WithSpanKind(kind)}
	for _, some := range kvs {
		opts = append(opts, trace.WithAttributes(some...))
	}
	return t.tracer.Start(ctx, name, opts...)
}

// failed marks a span. The word is all that is said: an error's text may name accounts.
func failed(span trace.Span, word string) {
	span.SetStatus(codes.Error, word)
	span.SetAttributes(attribute.String(attrErrorType, word))
}

// position is where ctx is in its trace, for a message's headers.
func position(ctx context.Context) events.Trace {
	m := make(propagation.MapCarrier, 2)
	propagation.TraceContext{}.Inject(ctx, m)
	return events.Trace{Parent: m["traceparent"], State: m["tracestate"]}
}

// following returns ctx inside the trace that a message told of.
func following(ctx context.Context, t events.Trace) context.Context {
	if t.Parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(t.Map()))
}

// traced reports whether ctx is inside of a trace: what happens outside of a job makes no spans.
func traced(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() }
