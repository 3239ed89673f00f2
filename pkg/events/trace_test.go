package events_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

func TestTracesTravelInHeaders(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, tt := range map[string]struct {
		trace events.Trace
		want  map[string]string // headers; "" for none
	}{
		"none":           {want: map[string]string{"traceparent": "", "ce-traceparent": "", "tracestate": ""}},
		"parent":         {events.Trace{Parent: parent}, map[string]string{"traceparent": parent, "ce-traceparent": parent, "tracestate": ""}},
		"with its state": {events.Trace{Parent: parent, State: "v=1"}, map[string]string{"tracestate": "v=1", "ce-tracestate": "v=1"}},
	} {
		e := samples()[events.TokenUpdated]
		e.Trace = tt.trace
		msg, err := events.Encode(events.Names{}, e)
		if err != nil {
			t.Fatal(err)
		}
		for header, want := range tt.want {
			if got := strings.Join(msg.Header[header], "|"); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		back, err := events.Decode(events.Names{}, msg)
		if err != nil || back != e {
			t.Errorf("%s: %+v, %v", name, back, err)
		}
	}
	long := nats.Header{"traceparent": {strings.Repeat("0", 1000)}}
	if got := events.ReadTrace(long); got != (events.Trace{}) {
		t.Errorf("a header that cannot be a trace is taken over: %d bytes", len(got.Parent))
	}
}
