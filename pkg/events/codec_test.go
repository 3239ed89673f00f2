package events_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/flatjsontest"
	"github.com/freshetdev/freshet/pkg/events"
)

var update = flag.Bool("update", false, "write the golden files of the current version anew")

func TestDataIsWrittenAsEncodingJSONWritesIt(t *testing.T) {
	t.Parallel()
	full := samples()[events.TokenRefreshFailed].Data
	full.By, full.Until = "operator", at.Add(time.Hour)
	flatjsontest.Same(t, full, events.Data.Encode)
}

// samples holds one event of each type, filled as the type fills it.
func samples() map[events.Type]events.Event {
	token := events.Data{
		Provider: "acme", Account: "tenant/alice@example.com", GrantID: "mzxw6ytboi2gk3tq", Generation: 2, Version: 17,
		Revision: 4711, State: "active", Reason: events.ReasonScheduled, ExpiresAt: at.Add(time.Hour), Attempt: "nbswy3dpeb3w64tm",
	}
	failed := token
	failed.Class, failed.Code, failed.State = "transient", "temporarily_unavailable", "retrying"
	failed.NextAttemptAt = at.Add(90 * time.Second)
	dead := failed
	dead.Class, dead.Code, dead.State, dead.NextAttemptAt = "rejected", "invalid_grant", "reauth_required", time.Time{}
	quiet := token
	quiet.Reason, quiet.Attempt = "", ""
	revoked, deleted := quiet, quiet
	revoked.State, deleted.State = "revoked", "deleted"
	paused := events.Data{
		Provider: "acme", Revision: 12, State: "paused", Reason: "throttled", Class: "throttled",
		By: "worker/w1", Until: at.Add(5 * time.Minute),
	}
	resumed := events.Data{Provider: "acme", Revision: 13, State: "active", By: "scheduler/s1"}

	all := map[events.Type]events.Data{
		events.TokenUpdated: token, events.TokenRefreshFailed: failed, events.TokenExpiring: quiet,
		events.TokenReauthRequired: dead, events.TokenRevoked: revoked, events.TokenDeleted: deleted,
		events.ProviderPaused: paused, events.ProviderResumed: resumed,
	}
	out := make(map[events.Type]events.Event, len(all))
	for t, d := range all {
		id := events.TokenEventID(t, d)
		if t.AboutProvider() {
			id = events.ProviderEventID(t, d.Provider, 12)
		}
		out[t] = events.Event{ID: id, Source: "freshet/worker/w1", Type: t, Time: at.Add(123456789), Data: d}
	}
	return out
}

// golden is how a message is written down: subject, headers in order, blank line, body.
func golden(msg *nats.Msg) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, msg.Subject)
	for _, name := range slices.Sorted(maps.Keys(msg.Header)) {
		for _, value := range msg.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", msg.Data)
	return b.Bytes()
}

func readGolden(t *testing.T, path string) *nats.Msg {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(raw), "\n\n")
	lines := strings.Split(head, "\n")
	msg := &nats.Msg{Subject: lines[0], Header: nats.Header{}, Data: []byte(strings.TrimSuffix(body, "\n"))}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		msg.Header.Add(name, value)
	}
	return msg
}

func TestSamplesCoverEveryType(t *testing.T) {
	t.Parallel()
	have := slices.Sorted(maps.Keys(samples()))
	if want := slices.Sorted(slices.Values(events.Types())); !slices.Equal(have, want) {
		t.Errorf("samples of %v, want %v", have, want)
	}
}

// What the current version writes. When it changes, the old files stay under their name, and the new ones
// get the next number.
func TestEncodeWritesTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for kind, e := range samples() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			msg, err := events.Encode(events.Names{}, e)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "v1."+string(kind)+".golden")
			if *update {
				if err := os.WriteFile(path, golden(msg), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := golden(readGolden(t, path)); !bytes.Equal(golden(msg), want) {
				t.Errorf("wrote\n%s\nwant\n%s", golden(msg), want)
			}
		})
	}
}

// Old versions decode forever.
func TestDecodeReadsEveryGoldenFile(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("testdata", "v*.golden"))
	if err != nil || len(paths) < len(events.Types()) {
		t.Fatalf("found %d golden files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			_, name, _ := strings.Cut(filepath.Base(path), ".")
			want := samples()[events.Type(strings.TrimSuffix(name, ".golden"))]
			got, err := events.Decode(events.Names{}, readGolden(t, path))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("Decode = %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestDecodeToleratesANewerVersion(t *testing.T) {
	t.Parallel()
	got, err := events.Decode(events.Names{}, readGolden(t, filepath.Join("testdata", "future.golden")))
	want := events.Event{
		ID: "anything a newer version likes", Source: "freshet/x", Type: "token.split", Time: at,
		Data: events.Data{Provider: "acme", Account: "alice", GrantID: "g", Generation: 1, Version: 3, State: "half", Reason: "split"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Decode = %+v, %v, want %+v", got, err, want)
	}
}

func TestEncodeKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	names, err := events.NewNames("staging")
	if err != nil {
		t.Fatal(err)
	}
	zone := time.FixedZone("", 3600)
	e := samples()[events.TokenRefreshFailed]
	want := e
	e.Time, e.Data.ExpiresAt, e.Data.NextAttemptAt = e.Time.In(zone), e.Data.ExpiresAt.In(zone), e.Data.NextAttemptAt.In(zone)
	msg, err := events.Encode(names, e)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := events.Decode(names, msg); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Decode(Encode) = %+v, %v, want %+v", got, err, want)
	}
	if got, err := events.Decode(events.Names{}, msg); !errors.Is(err, events.ErrEvent) {
		t.Errorf("another namespace reads it as %+v, %v", got, err)
	}
}

func TestEncodeRefusesWhatIsNotFitToBeTold(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*events.Event){
		"unknown type":               func(e *events.Event) { e.Type = "token.split" },
		"no type":                    func(e *events.Event) { e.Type = "" },
		"no id":                      func(e *events.Event) { e.ID = "" },
		"blank in the id":            func(e *events.Event) { e.ID = "a b" },
		"percent in the id":          func(e *events.Event) { e.ID = "a%20b" },
		"line break in the id":       func(e *events.Event) { e.ID = "a\r\nb: c" },
		"no source":                  func(e *events.Event) { e.Source = "" },
		"quote in the source":        func(e *events.Event) { e.Source = `freshet/"w"` },
		"source not a URI reference": func(e *events.Event) { e.Source = ":/" },
		"no time":                    func(e *events.Event) { e.Time = time.Time{} },
		"no provider":                func(e *events.Event) { e.Data.Provider = "" },
		"no account":                 func(e *events.Event) { e.Data.Account = "" },
		"account too long":           func(e *events.Event) { e.Data.Account = strings.Repeat("a", 200) },
		"provider event, account":    func(e *events.Event) { e.Type = events.ProviderPaused },
		"provider event, no name": func(e *events.Event) {
			e.Type, e.Data.Provider, e.Data.Account = events.ProviderPaused, "", ""
		},
		"time that JSON cannot say": func(e *events.Event) { e.Data.ExpiresAt = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := samples()[events.TokenUpdated]
			spoil(&e)
			if msg, err := events.Encode(events.Names{}, e); err == nil {
				t.Errorf("encoded as\n%s", golden(msg))
			}
		})
	}
	_, err := events.Encode(events.Names{}, events.Event{})
	for _, want := range []string{"type", "id", "source", "time", "provider"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Encode of the zero event: %v, want it to name the %s", err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*nats.Msg){
		"no headers":               func(m *nats.Msg) { m.Header = nil },
		"no id":                    func(m *nats.Msg) { m.Header.Del("ce-id") },
		"no specversion":           func(m *nats.Msg) { m.Header.Del("ce-specversion") },
		"another major version":    func(m *nats.Msg) { m.Header.Set("ce-specversion", "2.0") },
		"no type":                  func(m *nats.Msg) { m.Header.Del("ce-type") },
		"type of another event":    func(m *nats.Msg) { m.Header.Set("ce-type", "token.revoked") },
		"time that is none":        func(m *nats.Msg) { m.Header.Set("ce-time", "yesterday") },
		"structured mode":          func(m *nats.Msg) { m.Header.Set("content-type", "application/cloudevents+json") },
		"another format":           func(m *nats.Msg) { m.Header.Set("content-type", "text/plain") },
		"content type of nonsense": func(m *nats.Msg) { m.Header.Set("content-type", ";") },
		"subject attribute of another": func(m *nats.Msg) {
			m.Header.Set("ce-subject", "acme.mallory")
		},
		"no body":              func(m *nats.Msg) { m.Data = nil },
		"body cut short":       func(m *nats.Msg) { m.Data = m.Data[:len(m.Data)-1] },
		"body is null":         func(m *nats.Msg) { m.Data = []byte("null") },
		"body is a list":       func(m *nats.Msg) { m.Data = []byte("[]") },
		"member of wrong type": func(m *nats.Msg) { m.Data = []byte(`{"provider":"acme","account":"a","version":"1"}`) },
		"data about another account": func(m *nats.Msg) {
			m.Data = []byte(`{"provider":"acme","account":"mallory"}`)
		},
		"data about another provider": func(m *nats.Msg) {
			m.Data = []byte(`{"provider":"evil","account":"tenant/alice@example.com"}`)
		},
		"data about a provider":     func(m *nats.Msg) { m.Data = []byte(`{"provider":"acme"}`) },
		"subject of another":        func(m *nats.Msg) { m.Subject = "token.updated.acme.mallory" },
		"subject of another type":   func(m *nats.Msg) { m.Subject = "token.revoked.acme.tenant.alice=40example=2Ecom" },
		"subject not canonical":     func(m *nats.Msg) { m.Subject = "token.updated.acme.tenant.=61lice=40example=2Ecom" },
		"subject of something else": func(m *nats.Msg) { m.Subject = "_INBOX.a.b" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			msg, err := events.Encode(events.Names{}, samples()[events.TokenUpdated])
			if err != nil {
				t.Fatal(err)
			}
			spoil(msg)
			if e, err := events.Decode(events.Names{}, msg); !errors.Is(err, events.ErrEvent) {
				t.Errorf("Decode = %+v, %v, want ErrEvent", e, err)
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*nats.Msg){
		"parameters of the content type": func(m *nats.Msg) { m.Header.Set("content-type", "application/json; charset=utf-8") },
		"no content type":                func(m *nats.Msg) { m.Header.Del("content-type") },
		"no subject attribute":           func(m *nats.Msg) { m.Header.Del("ce-subject") },
		"no time":                        func(m *nats.Msg) { m.Header.Del("ce-time") },
		"a later minor version":          func(m *nats.Msg) { m.Header.Set("ce-specversion", "1.1") },
		"headers of the stream":          func(m *nats.Msg) { m.Header.Set("Nats-Stream", "TOKEN_EVENTS") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			msg, err := events.Encode(events.Names{}, samples()[events.TokenUpdated])
			if err != nil {
				t.Fatal(err)
			}
			change(msg)
			e, err := events.Decode(events.Names{}, msg)
			if err != nil || e.Data != samples()[events.TokenUpdated].Data {
				t.Errorf("Decode = %+v, %v", e, err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range samples() {
		msg, err := events.Encode(events.Names{}, e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg.Subject, e.ID, string(e.Type), e.Source, msg.Header.Get("ce-time"), "application/json", msg.Data)
	}
	f.Fuzz(func(t *testing.T, subject, id, kind, source, when, content string, body []byte) {
		h := nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-type": {kind}, "ce-source": {source}, "ce-time": {when}, "content-type": {content},
		}
		e, err := events.Decode(events.Names{}, &nats.Msg{Subject: subject, Header: h, Data: body})
		if err != nil {
			if !errors.Is(err, events.ErrEvent) {
				t.Fatalf("Decode: %v, want ErrEvent", err)
			}
			return
		}
		msg, err := events.Encode(events.Names{}, e)
		if err != nil { // more may be read than may be told
			return
		}
		if back, err := events.Decode(events.Names{}, msg); err != nil || !reflect.DeepEqual(back, e) || msg.Subject != subject {
			t.Fatalf("%+v became %+v, %v, on %q", e, back, err, msg.Subject)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	e := samples()[events.TokenUpdated]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Encode(events.Names{}, e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	msg, err := events.Encode(events.Names{}, samples()[events.TokenUpdated])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.Decode(events.Names{}, msg); err != nil {
			b.Fatal(err)
		}
	}
}
