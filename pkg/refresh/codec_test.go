package refresh_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/flatjsontest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// fullRecord has every field of schema 1.
func fullRecord() refresh.Record {
	return refresh.Record{
		V: 1, Provider: "acme", Account: "team/alice@example.com", GrantID: "abcdefghijklmnop", Generation: 2, Version: 7,
		State: refresh.StateRetrying, Paused: &provider.Pause{By: "operator", Until: noon.Add(time.Hour), Reason: "maintenance"},
		Scopes: []string{"read", "write"}, TokenType: "Bearer", Subject: "248289761001", IssuedAt: noon, ExpiresAt: noon.Add(time.Hour),
		RefreshAt: noon.Add(40 * time.Minute), GrantExpiresAt: noon.Add(90 * 24 * time.Hour),
		Policy:  &refresh.Policy{Cron: "@daily", KeepAlive: provider.Duration(24 * time.Hour)},
		Claim:   &refresh.Claim{Attempt: "attempt2", Worker: "w2", TTL: provider.Duration(25 * time.Second), At: noon.Add(41 * time.Minute)},
		Doubt:   &refresh.Doubt{Attempt: "attempt1", Worker: "w1", FirstSentAt: noon.Add(40 * time.Minute)},
		Failure: &refresh.Failure{Count: 2, Since: noon.Add(40 * time.Minute), Class: refresh.ClassUnknown, Code: "server_error", Status: 500, At: noon.Add(41 * time.Minute)},
		Last:    &refresh.Last{Attempt: "attempt1", Outcome: refresh.ClassUnknown, Reason: events.ReasonScheduled},
		Meta:    json.RawMessage(`{"instance_url":"https://eu.acme.example"}`), Access: []byte("sealed access"), Grant: []byte("sealed grant"),
	}
}

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]refresh.Record{"full": fullRecord(), "least": {V: 1, Provider: "a", Account: "b", State: refresh.StateDeleted}} {
		data, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := refresh.DecodeRecord(data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v (%v), want %+v", name, got, err, want)
		}
	}
}

func TestWhatIsWrittenByHandIsAsEncodingJSONWritesIt(t *testing.T) {
	t.Parallel()
	record := fullRecord()
	record.Narrowed, record.GrantedAt = []string{"admin"}, noon.Add(-time.Hour)
	record.Doubt.Earlier, record.Doubt.Inactive, record.Doubt.Restored = true, true, true
	flatjsontest.Same(t, record, func(r refresh.Record) ([]byte, error) { return r.Encode() })
	job := refresh.Job{Reason: events.ReasonScheduled, GrantID: "g", NewerThan: 3, IssuedAfter: noon, Refused: true}
	flatjsontest.Same(t, job, func(j refresh.Job) ([]byte, error) { return j.Encode(), nil })
	outcome := refresh.Journalled{
		Ticket: refresh.Ticket{Attempt: "a", Worker: "w", Key: "acme.bob", GrantID: "g", Generation: 1, Version: 2, Reason: events.ReasonDemand, Skew: -5},
		Outcome: refresh.Outcome{
			Phase: refresh.PhaseAnswered, Status: 200, ContentType: "application/json", RetryAfter: "3", Date: "today", Body: []byte(`{"a":"é<"}`),
			StartedAt: noon, EndedAt: noon.Add(time.Second), Err: "no", Local: true,
		},
	}
	flatjsontest.Same(t, outcome, refresh.Journalled.Encode)
}

func TestAnyRecordRoundTrips(t *testing.T) {
	t.Parallel()
	times := rapid.Map(rapid.Int64Range(0, 1<<32), func(s int64) time.Time { return time.Unix(s, s%1e9).UTC() })
	rapid.Check(t, func(t *rapid.T) {
		want := fullRecord()
		want.Account = rapid.StringN(1, 20, 40).Draw(t, "account")
		want.Generation, want.Version = rapid.Uint64().Draw(t, "generation"), rapid.Uint64().Draw(t, "version")
		want.IssuedAt, want.Claim.At = times.Draw(t, "issued"), times.Draw(t, "claimed")
		want.Policy.Cron, want.Failure.Code = rapid.String().Draw(t, "cron"), rapid.String().Draw(t, "code")
		want.Grant = rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "grant")
		data, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := refresh.DecodeRecord(data); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v (%v), want %+v", got, err, want)
		}
	})
}

// goldenKeys are keysets made for the golden record alone.
func goldenKeys(t *testing.T) refresh.Keys {
	t.Helper()
	load := func(name string) *seal.Keyset {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		k, err := seal.LoadKeyset(data)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return refresh.Keys{Bucket: "tokens", Grant: load("v1.grant.keyset.json"), Access: load("v1.access.keyset.json")}
}

// What an earlier release has stored is read, and opened, for ever; it is also written as it was.
func TestGoldenRecord(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/v1.record.json")
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.TrimSpace(data)
	got, err := refresh.DecodeRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	keys := goldenKeys(t)
	g, err := keys.OpenGrant(&got)
	if err != nil || g.RefreshToken.Reveal() != "rt-golden" || g.Previous.Reveal() != "rt-before" {
		t.Errorf("the grant does not open: %v", err)
	}
	access, err := keys.OpenAccess(&got)
	if err != nil || access.Reveal() != "at-golden" {
		t.Errorf("the access token does not open: %v", err)
	}
	again, err := got.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("written as %s (%v)", again, err)
	}
	want := fullRecord()
	want.Access, want.Grant = got.Access, got.Grant
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// future is a record of a newer schema, with something new at the top, and in each object.
const future = `{"v":2,"provider":"acme","account":"alice","grant_id":"g","generation":1,"version":1,"state":"active",
	"dpop":{"jkt":"x","alg":["ES256"]},"region":"eu",
	"paused":{"by":"operator","ticket":"T1"},
	"policy":{"cron":"@daily","window":{"from":1}},
	"claim":{"attempt":"a1","worker":"w1","ttl":"25s","at":"2026-03-02T12:00:00Z","host":"h1"},
	"failure":{"count":1,"since":"2026-03-02T12:00:00Z","class":"unknown","at":"2026-03-02T12:00:00Z","trace":"t1"},
	"meta":{"a":{"b":1}},"issued_at":"2026-03-02T12:00:00Z"}`

// rewritten decodes a record, lets an older writer change it, and returns what is then stored.
func rewritten(t *testing.T, data string, edit func(*refresh.Record)) map[string]json.RawMessage {
	t.Helper()
	r, err := refresh.DecodeRecord([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	edit(&r)
	out, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := refresh.DecodeRecord(out); err != nil {
		t.Errorf("not a record any more: %v", err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(out, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

func TestFieldsOfANewerSchemaSurviveARewrite(t *testing.T) {
	t.Parallel()
	var before map[string]json.RawMessage
	if err := json.Unmarshal([]byte(future), &before); err != nil {
		t.Fatal(err)
	}
	got := rewritten(t, future, func(r *refresh.Record) {
		r.Version = 2
		r.Failure = &refresh.Failure{Count: 2, Class: refresh.ClassUnknown}
		r.Policy = nil
	})
	for _, name := range []string{"v", "dpop", "region", "paused", "claim", "meta", "issued_at"} {
		if string(got[name]) != string(before[name]) {
			t.Errorf("%s: %s, was %s", name, got[name], before[name])
		}
	}
	if string(got["version"]) != "2" || strings.Contains(string(got["failure"]), "trace") || got["policy"] != nil {
		t.Errorf("version %s, failure %s, policy %s", got["version"], got["failure"], got["policy"])
	}
}

// A copy that lost its claim, and one that got another, do not get the old one's unknown fields back.
func TestFieldsOfANewerSchemaStayWithTheirObject(t *testing.T) {
	t.Parallel()
	for name, claim := range map[string]*refresh.Claim{"no claim": nil, "another": {Attempt: "a2", Worker: "w2"}} {
		got := rewritten(t, future, func(r *refresh.Record) { r.Claim = claim })
		if strings.Contains(string(got["claim"]), "host") || (claim == nil) != (got["claim"] == nil) {
			t.Errorf("%s: claim %s", name, got["claim"])
		}
	}
}

func TestMalformedRecordIsSaidToBe(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ data, words string }{
		"nothing":            {"", "unexpected end"},
		"cut off":            {`{"v":1,"provider":"acme"`, "unexpected end"},
		"another kind":       {`["acme"]`, "cannot unmarshal array"},
		"null":               {`null`, "malformed name"},
		"something after it": {`{"v":1,"provider":"a","account":"b","state":"active"}{}`, "after top-level value"},
		"wrong type":         {`{"v":1,"provider":"a","account":"b","state":"active","version":"7"}`, "version"},
		"negative version":   {`{"v":1,"provider":"a","account":"b","state":"active","version":-1}`, "version"},
		"no such time":       {`{"v":1,"provider":"a","account":"b","state":"active","issued_at":"noon"}`, "noon"},
		"no provider":        {`{"v":1,"account":"b","state":"active"}`, "provider"},
		"no account":         {`{"v":1,"provider":"a","state":"active"}`, "the account is empty"},
		"no state":           {`{"v":1,"provider":"a","account":"b"}`, `unknown state ""`},
		"unknown state":      {`{"v":9,"provider":"a","account":"b","state":"frozen","new":1}`, `unknown state "frozen"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := refresh.DecodeRecord([]byte(tt.data))
			if !errors.Is(err, refresh.ErrMalformed) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("err %v, want %v with %q", err, refresh.ErrMalformed, tt.words)
			}
		})
	}
}

func TestRecordThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	r := fullRecord()
	r.Meta = json.RawMessage(`{`)
	if _, err := r.Encode(); err == nil {
		t.Error("no error")
	}
}

func TestJobRoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []refresh.Job{
		{},
		{Reason: events.ReasonCron, GrantID: "g", NewerThan: 7, IssuedAfter: noon},
		{Reason: events.ReasonDemand, NewerThan: 1, Refused: true},
	} {
		if got, err := refresh.DecodeJob(want.Encode()); err != nil || got != want {
			t.Errorf("got %+v (%v), want %+v", got, err, want)
		}
	}
	if got, err := refresh.DecodeJob([]byte(`{"reason":"demand","newer_than":3,"priority":9}`)); err != nil || got.NewerThan != 3 {
		t.Errorf("a newer job is read as %+v (%v)", got, err)
	}
	if _, err := refresh.DecodeJob([]byte(`{`)); err == nil {
		t.Error("half a job is read")
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		for _, id := range []string{refresh.NewGrantID(), refresh.NewAttemptID()} {
			packed, ok := refresh.PackGrantID(id)
			if len(id) != 16 || !ok || refresh.UnpackGrantID(packed) != id || seen[id] {
				t.Fatalf("id %q", id)
			}
			seen[id] = true
		}
	}
	for _, id := range []string{"", "abc", "ABCDEFGHIJKLMNOP", "abcdefghijklmno\n", "abcdefghijklmnop1", "abcdefghijklmno1"} {
		if _, ok := refresh.PackGrantID(id); ok {
			t.Errorf("%q counts as an id", id)
		}
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	for state, want := range map[refresh.State][2]bool{
		refresh.StateActive: {true, false}, refresh.StateRetrying: {true, false}, refresh.StateUncertain: {true, false},
		refresh.StateReauthRequired: {false, false}, refresh.StateRevoked: {false, true}, refresh.StateDeleted: {false, true},
	} {
		if state.Refreshable() != want[0] || state.Withdrawn() != want[1] {
			t.Errorf("%s: refreshable %v, withdrawn %v", state, state.Refreshable(), state.Withdrawn())
		}
	}
}
