package audit_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestAnEntryIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	w, k := newWorld(t), natstest.Keyset(t)
	e := audit.About(audit.Enrolled, alice)
	e.Data.Via, e.Data.RefreshTokenRef = "login", k.Reference(seal.NewSecret("canary"))
	before := time.Now()
	id := w.log().Note(t.Context(), e)
	all := w.entries(audit.Filter{})
	if len(all) != 1 || len(w.warnings()) > 0 {
		t.Fatalf("%d entries, want 1; warnings: %v", len(all), w.warnings())
	}
	got := all[0]
	if got.ID != id || got.Source != "freshet/test" || got.Action != audit.Enrolled || got.Subject() != "acme/alice@example.com" || got.Time.Before(before.Add(-time.Second)) {
		t.Errorf("got %+v", got)
	}
	if a := got.Data.Actor; a.Program != "test" || a.Host == "" || a.OSUser == "" || a.NATSUser != "anna" {
		t.Errorf("actor %+v", a)
	}
	if got.Data.Via != "login" || got.Data.RefreshTokenRef != e.Data.RefreshTokenRef {
		t.Errorf("data %+v", got.Data)
	}
	msg, err := w.broker.JetStream().Stream(t.Context(), "AUDIT")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := msg.GetLastMsgForSubject(t.Context(), "audit.enrolled.acme.alice=40example=2Ecom")
	if err != nil {
		t.Fatal(err)
	}
	if raw.Header.Get("ce-type") != "audit.enrolled" || raw.Header.Get("Nats-Msg-Id") != id || strings.Contains(string(raw.Data), "canary") {
		t.Errorf("message %v %s", raw.Header, raw.Data)
	}
}

func TestOnlyWhatTheFilterWantsIsRead(t *testing.T) {
	t.Parallel()
	w, k := newWorld(t), natstest.Keyset(t)
	token := seal.NewSecret("leaked")
	log, bob := w.log(), events.Credential{Provider: "acme", Account: "bob"}
	read := audit.About(audit.TokenRead, bob)
	read.Data.AccessTokenRef = k.Reference(token)
	for _, e := range []audit.Entry{audit.About(audit.Enrolled, alice), audit.About(audit.Paused, events.Credential{Provider: "acme"}), read, {Action: audit.SetUp}} {
		log.Note(t.Context(), e)
	}
	for name, tt := range map[string]struct {
		filter audit.Filter
		want   string
	}{
		"all":             {audit.Filter{}, "enrolled paused token_read set_up"},
		"since":           {audit.Filter{Since: time.Now().Add(-time.Minute)}, "enrolled paused token_read set_up"},
		"later":           {audit.Filter{Since: time.Now().Add(time.Hour)}, ""},
		"an action":       {audit.Filter{Action: audit.Paused}, "paused"},
		"a provider":      {audit.Filter{Provider: "acme"}, "enrolled paused token_read"},
		"a credential":    {audit.Filter{Provider: "acme", Account: "bob"}, "token_read"},
		"a token":         {audit.Filter{Refs: k.References(token)}, "token_read"},
		"another token":   {audit.Filter{Refs: k.References(seal.NewSecret("other"))}, ""},
		"another keyset":  {audit.Filter{Refs: natstest.Keyset(t).References(token)}, ""},
		"nobody's prefix": {audit.Filter{Provider: "acme", Account: "bo"}, ""},
	} {
		var got []string
		for _, e := range w.entries(tt.filter) {
			got = append(got, string(e.Action))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: got %v, want %s", name, got, tt.want)
		}
	}
}

// An installation that was set up before there was such a stream goes on.
func TestWithoutAStreamThereIsOneWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.loseStream()
	log := w.log()
	for range 3 {
		if id := log.Note(t.Context(), audit.About(audit.Deleted, alice)); id != "" {
			t.Errorf("id %s of an entry that is nowhere", id)
		}
	}
	if all := w.warnings(); len(all) != 1 || !errors.Is(all[0], broker.ErrNotSetUp) || !strings.Contains(all[0].Error(), "freshet setup") {
		t.Errorf("warnings %v", all)
	}
}

func TestEveryEntryThatIsNotWrittenIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setBroken(errAway)
	log := w.log()
	log.Note(t.Context(), audit.About(audit.Deleted, alice))
	log.Note(t.Context(), audit.About(audit.Revoked, alice))
	w.setBroken(nil)
	log.Note(t.Context(), audit.Entry{Action: "made up"})
	log.Note(t.Context(), audit.About(audit.Paused, events.Credential{Provider: "Not A Name"}))
	all := w.warnings()
	if len(all) != 4 || !errors.Is(all[0], errAway) || !errors.Is(all[2], audit.ErrEntry) || !errors.Is(all[3], events.ErrName) || !strings.Contains(all[1].Error(), "revoked acme/alice@example.com") {
		t.Errorf("warnings %v", all)
	}
}

func TestNoLogWritesNothing(t *testing.T) {
	t.Parallel()
	var log *audit.Log
	if id := log.Note(t.Context(), audit.About(audit.Deleted, alice)); id != "" {
		t.Errorf("id %s", id)
	}
}

func TestAMessageThatIsNoEntryIsPassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for subject, body := range map[string]string{"audit.enrolled.acme.bob": `{"provider":"acme"}`, "audit.x": `{}`, "audit.paused.acme": "no JSON"} {
		if _, err := w.broker.JetStream().Publish(t.Context(), subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	head := events.Envelope{ID: "1", Type: "audit.deleted", Source: "x", Time: time.Now()}
	if err := w.broker.StoreAudit(t.Context(), head.Message("audit.deleted.acme.bob", []byte(`{"provider":"acme","account":"alice"}`))); err != nil {
		t.Fatal(err)
	}
	w.log().Note(t.Context(), audit.About(audit.Deleted, alice))
	var read []audit.Entry
	var faults []error
	err := audit.Read(t.Context(), w.broker.ReadAudit, events.Names{}, audit.Filter{},
		func(e audit.Entry) error { read = append(read, e); return nil }, func(err error) { faults = append(faults, err) })
	if err != nil || len(read) != 1 || len(faults) != 4 {
		t.Errorf("%d entries, %v, faults %v", len(read), err, faults)
	}
	if slices.ContainsFunc(faults, func(err error) bool { return !errors.Is(err, audit.ErrEntry) }) {
		t.Errorf("faults %v", faults)
	}
}
