package telemetry

import (
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The JSON form of ExportTraceServiceRequest, as far as our spans use it
// (https://github.com/open-telemetry/opentelemetry-proto, opentelemetry/proto/trace/v1/trace.proto; ids are in hex, 64-bit
// numbers are strings).
type (
	traceRequest struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource   otlpResource `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	scopeSpans struct {
		Scope otlpScope  `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpScope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	otlpSpan struct {
		TraceID      string          `json:"traceId"`
		SpanID       string          `json:"spanId"`
		TraceState   string          `json:"traceState,omitempty"`
		ParentSpanID string          `json:"parentSpanId,omitempty"`
		Flags        uint32          `json:"flags"`
		Name         string          `json:"name"`
		Kind         int             `json:"kind"`
		Start        string          `json:"startTimeUnixNano"`
		End          string          `json:"endTimeUnixNano"`
		Attributes   []otlpAttribute `json:"attributes,omitempty"`
		Status       otlpStatus      `json:"status"`
	}
	otlpStatus struct {
		Code    int    `json:"code,omitempty"`
		Message string `json:"message,omitempty"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		String *string  `json:"stringValue,omitempty"`
		Bool   *bool    `json:"boolValue,omitempty"`
		Int    *string  `json:"intValue,omitempty"`
		Double *float64 `json:"doubleValue,omitempty"`
	}
)

const (
	otlpStatusOK    = 1
	otlpStatusError = 2
)

// encodeSpans puts spans under their one resource and one scope: a process has no others.
func encodeSpans(spans []sdktrace.ReadOnlySpan) traceRequest {
	if len(spans) == 0 {
		return traceRequest{}
	}
	first := spans[0]
	scope := scopeSpans{Scope: otlpScope{Name: first.InstrumentationScope().Name, Version: first.InstrumentationScope().Version}}
	for _, s := range spans {
		scope.Spans = append(scope.Spans, encodeSpan(s))
	}
	return traceRequest{ResourceSpans: []resourceSpans{{
		Resource: otlpResource{encodeAttributes(first.Resource().Attributes())}, ScopeSpans: []scopeSpans{scope},
	}}}
}

func encodeSpan(s sdktrace.ReadOnlySpan) otlpSpan {
	c := s.SpanContext()
	o := otlpSpan{
		TraceID: c.TraceID().String(), SpanID: c.SpanID().String(), TraceState: c.TraceState().String(), Flags: uint32(c.TraceFlags()),
		Name: s.Name(), Kind: int(s.SpanKind()), // the numbers are the protocol's
		Start: nanoseconds(s.StartTime()), End: nanoseconds(s.EndTime()), Attributes: encodeAttributes(s.Attributes()),
	}
	if p := s.Parent(); p.HasSpanID() {
		o.ParentSpanID = p.SpanID().String()
	}
	switch s.Status().Code {
	case codes.Ok:
		o.Status.Code = otlpStatusOK
	case codes.Error:
		o.Status = otlpStatus{Code: otlpStatusError, Message: s.Status().Description}
	default: // unset
	}
	return o
}

func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func encodeAttributes(kvs []attribute.KeyValue) []otlpAttribute {
	out := make([]otlpAttribute, 0, len(kvs))
	for _, kv := range kvs {
		out = append(out, otlpAttribute{string(kv.Key), encodeValue(kv.Value)})
	}
	return out
}

func encodeValue(v attribute.Value) otlpValue {
	switch v.Type() {
	case attribute.BOOL:
		b := v.AsBool()
		return otlpValue{Bool: &b}
	case attribute.INT64:
		n := strconv.FormatInt(v.AsInt64(), 10)
		return otlpValue{Int: &n}
	case attribute.FLOAT64:
		f := v.AsFloat64()
		return otlpValue{Double: &f}
	default: // lists do not occur in what Freshet says; from OTEL_RESOURCE_ATTRIBUTES come strings
		s := v.String()
		return otlpValue{String: &s}
	}
}
