package events_test

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

// natsMessage gives a NATS message to the CloudEvents SDK, as a binding in binary mode does.
type natsMessage struct{ *nats.Msg }

func (m natsMessage) ReadEncoding() binding.Encoding {
	if format.IsFormat(m.Header.Get("content-type")) {
		return binding.EncodingStructured
	}
	return binding.EncodingBinary
}

func (m natsMessage) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m natsMessage) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	const prefix = "ce-"
	version := spec.WithPrefix(prefix).Version(m.Header.Get(prefix + "specversion"))
	for name := range m.Header {
		attribute := version.Attribute(name)
		var err error
		switch {
		case attribute != nil:
			err = w.SetAttribute(attribute, m.Header.Get(name))
		case strings.HasPrefix(name, prefix):
			err = w.SetExtension(strings.TrimPrefix(name, prefix), m.Header.Get(name))
		}
		if err != nil {
			return err
		}
	}
	return w.SetData(bytes.NewReader(m.Data))
}

func (m natsMessage) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	const prefix = "ce-"
	attribute := spec.WithPrefix(prefix).Version(m.Header.Get(prefix + "specversion")).AttributeFromKind(kind)
	if attribute == nil {
		return nil, nil
	}
	return attribute, m.Header.Get(attribute.PrefixedName())
}

func (m natsMessage) GetExtension(name string) any { return m.Header.Get("ce-" + name) }

// An independent reader finds valid CloudEvents, with every attribute as it was meant and no other.
func TestEventsAreCloudEvents(t *testing.T) {
	t.Parallel()
	for kind, e := range samples() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			msg, err := events.Encode(events.Names{}, e)
			if err != nil {
				t.Fatal(err)
			}
			got, err := binding.ToEvent(t.Context(), natsMessage{msg})
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
			wantCloudEvent(t, got, e, msg)
		})
	}
}

func wantCloudEvent(t *testing.T, got *event.Event, e events.Event, msg *nats.Msg) {
	t.Helper()
	subject := strings.TrimPrefix(msg.Subject, string(e.Type)+".")
	for _, a := range []struct{ name, got, want string }{
		{"specversion", got.SpecVersion(), event.CloudEventsVersionV1},
		{"id", got.ID(), e.ID},
		{"message id", msg.Header.Get("Nats-Msg-Id"), e.ID},
		{"type", got.Type(), string(e.Type)},
		{"source", got.Source(), e.Source},
		{"subject", got.Subject(), subject},
		{"datacontenttype", got.DataContentType(), event.ApplicationJSON},
	} {
		if a.got != a.want {
			t.Errorf("%s = %q, want %q", a.name, a.got, a.want)
		}
	}
	if !got.Time().Equal(e.Time) {
		t.Errorf("time = %v, want %v", got.Time(), e.Time)
	}
	if len(got.Extensions()) != 0 {
		t.Errorf("extensions %v, want none", got.Extensions())
	}
	var data events.Data
	if err := json.Unmarshal(got.Data(), &data); err != nil || !reflect.DeepEqual(data, e.Data) {
		t.Errorf("data = %+v, %v, want %+v", data, err, e.Data)
	}
}
