package app_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// A scheduler holds no key: its configuration has these fields and no others, or this does not compile.
var _ = struct {
	Name                 string
	Conn                 *nats.Conn
	Broker               broker.Config
	Log                  zerolog.Logger
	OnPublished          func(key string, reason events.Reason)
	OnReading, OnRebuilt func(credentials int)
	Telemetry            *telemetry.Telemetry
}(app.SchedulerConfig{})

// fullRecord gives a record every field there is.
func fullRecord(r *refresh.Record) {
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	r.State, r.Scopes, r.Meta = refresh.StateRetrying, []string{"read"}, []byte(`{"instance_url":"https://eu1.acme.test"}`)
	r.Paused = &provider.Pause{By: "operator", Reason: "audit"}
	r.Policy = &refresh.Policy{Cron: "0 3 * * *", KeepAlive: provider.Duration(24 * time.Hour)}
	r.Claim = &refresh.Claim{Attempt: "a1", Worker: "w1", TTL: provider.Duration(25 * time.Second), At: now}
	r.Doubt = &refresh.Doubt{Attempt: "a0", Worker: "w0", FirstSentAt: now}
	r.Failure = &refresh.Failure{Count: 2, Since: now, Class: refresh.ClassUnknown, Code: "server_error", Status: 500, At: now}
	r.GrantExpiresAt = now.AddDate(0, 1, 0)
}

// Any NATS client that reads the bucket sees readable metadata and two sealed fields.
func TestRecordsAreReadableButForTheirSecrets(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	c := f.enrol("alice@example.com/work")
	s := f.record(c)
	fullRecord(&s.Record)
	_, err := f.Put(t.Context(), refresh.Write{Record: s.Record, Revision: s.Revision, Announce: refresh.Announcement{
		Type: events.TokenUpdated, Reason: events.ReasonEnrolled,
	}})
	f.must(err)

	js, err := jetstream.New(f.connect(zerolog.Nop()))
	f.must(err)
	stream, err := js.Stream(t.Context(), "KV_tokens")
	f.must(err)
	msg, err := stream.GetLastMsgForSubject(t.Context(), "$KV.tokens.acme.alice=40example=2Ecom.work")
	f.must(err)
	var have map[string]json.RawMessage
	f.must(json.Unmarshal(msg.Data, &have))
	wantFields(t, have)
	wantSummaryHeaders(t, msg.Header, have)

	grant, err := f.keys().OpenGrant(&s.Record)
	f.must(err)
	access, err := f.keys().OpenAccess(&s.Record)
	f.must(err)
	var hidden canaries
	hidden.add("refresh token", grant.RefreshToken.Reveal())
	hidden.add("access token", access.Reveal())
	if found := hidden.in(msg.Data); len(hidden.kinds()) != 2 || len(found) != 0 {
		t.Errorf("the value shows %v of %v", found, hidden.kinds())
	}
	for field, keyset := range map[string]*seal.Keyset{"grant": f.grant, "access": f.access} {
		var sealed []byte
		f.must(json.Unmarshal(have[field], &sealed))
		if id, err := seal.KeyIDOf(sealed); err != nil || id != keyset.PrimaryID() {
			t.Errorf("%s: sealed with key %d, %v, want %d", field, id, err, keyset.PrimaryID())
		}
	}
	bucket, err := js.KeyValue(t.Context(), "tokens")
	f.must(err)
	if e, err := bucket.Get(t.Context(), c.Key()); err != nil || !bytes.Equal(e.Value(), msg.Data) {
		t.Errorf("the KV client reads something else: %v", err)
	}
}

// wantFields compares a record's JSON with the names and values that the design promises.
func wantFields(t *testing.T, have map[string]json.RawMessage) {
	t.Helper()
	names := []string{
		"v", "provider", "account", "grant_id", "generation", "version", "state", "paused", "scopes", "token_type",
		"granted_at", "issued_at", "expires_at", "refresh_at", "grant_expires_at", "policy", "claim", "doubt", "failure", "last", "meta",
		"access", "grant",
	}
	slices.Sort(names)
	if got := slices.Sorted(maps.Keys(have)); !slices.Equal(got, names) {
		t.Errorf("fields %v, want %v", got, names)
	}
	for name, want := range map[string]string{
		"v": `1`, "provider": `"acme"`, "account": `"alice@example.com/work"`, "generation": `1`, "version": `1`,
		"state": `"retrying"`, "scopes": `["read"]`, "token_type": `"Bearer"`, "grant_expires_at": `"2031-03-03T04:05:06Z"`,
		"meta": `{"instance_url":"https://eu1.acme.test"}`,
	} {
		if string(have[name]) != want {
			t.Errorf("%s is %s, want %s", name, have[name], want)
		}
	}
	for name, members := range map[string]string{
		"paused": "by reason", "policy": "cron keep_alive", "claim": "at attempt ttl worker", "doubt": "attempt first_sent_at worker",
		"failure": "at class code count since status", "last": "attempt outcome reason",
	} {
		var object map[string]any
		if err := json.Unmarshal(have[name], &object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(object)), " "); got != members {
			t.Errorf("%s has %q, want %q", name, got, members)
		}
	}
	for _, name := range []string{"granted_at", "issued_at", "expires_at", "refresh_at"} {
		var at time.Time
		if err := json.Unmarshal(have[name], &at); err != nil || !strings.HasSuffix(string(have[name]), `Z"`) || at.IsZero() {
			t.Errorf("%s is %s, %v: want RFC 3339 in UTC", name, have[name], err)
		}
	}
}

// wantSummaryHeaders compares a record's headers with its value: all that a scheduler needs, and nothing that is sealed.
func wantSummaryHeaders(t *testing.T, header nats.Header, have map[string]json.RawMessage) {
	t.Helper()
	text := func(name string) string {
		return strings.Trim(string(have[name]), `"`)
	}
	want := map[string]string{
		"Freshet-State": text("state"), "Freshet-Paused": "true", "Freshet-Grant-Id": text("grant_id"),
		"Freshet-Generation": text("generation"), "Freshet-Version": text("version"), "Freshet-Issued-At": text("issued_at"),
		"Freshet-Refresh-At": text("refresh_at"), "Freshet-Expires-At": text("expires_at"),
		"Freshet-Grant-Expires-At": text("grant_expires_at"), "Freshet-Failure": "unknown 2", "Freshet-Cron": "0 3 * * *",
		"Freshet-Keep-Alive": "24h0m0s", "Freshet-Announce": "token.updated enrolled",
	}
	got := make(map[string]string)
	for name, values := range header {
		if strings.HasPrefix(name, "Freshet-") {
			got[name] = strings.Join(values, "|")
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("headers\n%v, want\n%v", got, want)
	}
}

// A provider's entry shows everything but its client secrets.
func TestProviderEntriesAreReadableButForTheirSecrets(t *testing.T) {
	t.Parallel()
	const secret = "a-client-secret-to-look-for"
	f := newFleet(t, fleetConfig{Provider: func(d *provider.Definition) {
		d.ClientSecrets = []seal.Secret{seal.NewSecret(secret), seal.NewSecret(secret + "-2")}
	}})
	bucket, err := f.JetStream().KeyValue(t.Context(), "providers")
	f.must(err)
	e, err := bucket.Get(t.Context(), "acme")
	f.must(err)
	var have struct {
		TokenURL      string   `json:"token_url"`
		ClientID      string   `json:"client_id"`
		ClientSecrets [][]byte `json:"client_secrets"`
	}
	f.must(json.Unmarshal(e.Value(), &have))
	var hidden canaries
	hidden.add("client secret", secret)
	if found := hidden.in(e.Value()); len(found) != 0 || have.TokenURL != f.acme.TokenURL || have.ClientID != "dev" {
		t.Errorf("the entry shows %v: %s", found, e.Value())
	}
	for i, sealed := range have.ClientSecrets {
		if id, err := seal.KeyIDOf(sealed); err != nil || id != f.grant.PrimaryID() || len(have.ClientSecrets) != 2 {
			t.Errorf("secret %d of %d: sealed with key %d, %v", i+1, len(have.ClientSecrets), id, err)
		}
	}
}
