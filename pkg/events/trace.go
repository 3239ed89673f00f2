package events

import "github.com/nats-io/nats.go"

// Trace is a position in a distributed trace (W3C Trace Context): the two headers that carry it. The zero value is none. Freshet
// passes it on and does not interpret it.
type Trace struct {
	Parent string // traceparent
	State  string // tracestate; usually empty
}

// The headers of a trace. An event has them under the names of the CloudEvents extension for distributed tracing as well.
const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
	headerCE          = "ce-"
)

// maxTrace bounds what is taken over from a header, in bytes; a traceparent has 55.
const maxTrace = 512

// Map returns the trace under its header names, as the carrier that a propagator reads:
//
//	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(e.Trace.Map()))
func (t Trace) Map() map[string]string {
	m := make(map[string]string, 2)
	if t.Parent != "" {
		m[headerTraceParent] = t.Parent
	}
	if t.State != "" {
		m[headerTraceState] = t.State
	}
	return m
}

// Write puts the trace into a message's headers, which must not be nil unless there is no trace.
func (t Trace) Write(h nats.Header) {
	if t.Parent == "" {
		return
	}
	h[headerTraceParent] = []string{t.Parent}
	if t.State != "" {
		h[headerTraceState] = []string{t.State}
	}
}

// ReadTrace reads a trace from a message's headers. What is too long to be one is left out.
func ReadTrace(h nats.Header) Trace {
	parent := h[headerTraceParent]
	if len(parent) == 0 || len(parent[0]) > maxTrace {
		return Trace{}
	}
	t := Trace{Parent: parent[0]}
	if state := h[headerTraceState]; len(state) > 0 && len(state[0]) <= maxTrace {
		t.State = state[0]
	}
	return t
}

// writeEvent is Write for an event.
func (t Trace) writeEvent(h nats.Header) {
	t.Write(h)
	if t.Parent == "" {
		return
	}
	h[headerCE+headerTraceParent] = []string{t.Parent}
	if t.State != "" {
		h[headerCE+headerTraceState] = []string{t.State}
	}
}
