package refresh_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// sealedRecord is a record with canaries in its seals, and the keys to them.
func sealedRecord(t testing.TB) (refresh.Record, refresh.Keys) {
	t.Helper()
	keys := refresh.Keys{Bucket: "tokens", Grant: natstest.Keyset(t), Access: natstest.Keyset(t)}
	r := healthy().Record
	g := refresh.Grant{RefreshToken: seal.NewSecret(canaryRefresh), Previous: seal.NewSecret("rt-before")}
	if err := keys.Seal(&r, g, seal.NewSecret(canaryAccess)); err != nil {
		t.Fatal(err)
	}
	return r, keys
}

func TestSealedFieldsOpen(t *testing.T) {
	t.Parallel()
	r, keys := sealedRecord(t)
	g, err := keys.OpenGrant(&r)
	if err != nil || g.RefreshToken.Reveal() != canaryRefresh || g.Previous.Reveal() != "rt-before" {
		t.Errorf("grant does not open: %v", err)
	}
	access, err := keys.OpenAccess(&r)
	if err != nil || access.Reveal() != canaryAccess {
		t.Errorf("access token does not open: %v", err)
	}
	r.Grant, r.Access = nil, nil
	if g, err := keys.OpenGrant(&r); err != nil || !g.RefreshToken.IsZero() || !g.Previous.IsZero() {
		t.Errorf("no grant opens as something (%v)", err)
	}
	if access, err := keys.OpenAccess(&r); err != nil || !access.IsZero() {
		t.Errorf("no access token opens as something (%v)", err)
	}
}

// A ciphertext that somebody moved, or kept from an earlier version, opens nowhere.
func TestSealedFieldsAreBoundToTheirPlace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		record func(*refresh.Record)
		keys   func(*refresh.Keys)
		want   error
	}{
		"another provider":   {record: func(r *refresh.Record) { r.Provider = "other" }, want: seal.ErrCorrupt},
		"another account":    {record: func(r *refresh.Record) { r.Account = "bob" }, want: seal.ErrCorrupt},
		"another grant":      {record: func(r *refresh.Record) { r.GrantID = "h" }, want: seal.ErrCorrupt},
		"another generation": {record: func(r *refresh.Record) { r.Generation++ }, want: seal.ErrCorrupt},
		"another version":    {record: func(r *refresh.Record) { r.Version-- }, want: seal.ErrCorrupt},
		"another bucket":     {keys: func(k *refresh.Keys) { k.Bucket = "staging_tokens" }, want: seal.ErrCorrupt},
		"other keys":         {keys: func(k *refresh.Keys) { k.Grant, k.Access = k.Access, k.Grant }, want: seal.ErrUnknownKey},
		"altered":            {record: func(r *refresh.Record) { r.Grant[len(r.Grant)-1]++; r.Access[len(r.Access)-1]++ }, want: seal.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, keys := sealedRecord(t)
			if tt.record != nil {
				tt.record(&r)
			}
			if tt.keys != nil {
				tt.keys(&keys)
			}
			g, err := keys.OpenGrant(&r)
			wantSealed(t, err, tt.want)
			access, err := keys.OpenAccess(&r)
			wantSealed(t, err, tt.want)
			if !g.RefreshToken.IsZero() || !g.Previous.IsZero() || !access.IsZero() {
				t.Error("something comes with the error")
			}
		})
	}
}

// With one keyset for both, the field alone keeps an access token from passing as a grant.
func TestSealedFieldsAreBoundToTheirField(t *testing.T) {
	t.Parallel()
	r, keys := sealedRecord(t)
	keys.Access = keys.Grant
	g := refresh.Grant{RefreshToken: seal.NewSecret(canaryRefresh)}
	if err := keys.Seal(&r, g, seal.NewSecret(`{"refresh_token":"forged"}`)); err != nil {
		t.Fatal(err)
	}
	r.Grant, r.Access = r.Access, r.Grant
	_, err := keys.OpenGrant(&r)
	wantSealed(t, err, seal.ErrCorrupt)
	_, err = keys.OpenAccess(&r)
	wantSealed(t, err, seal.ErrCorrupt)
}

func wantSealed(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("err %v, want %v", err, want)
		return
	}
	if !strings.Contains(err.Error(), "/") || strings.Contains(err.Error(), canaryRefresh) || strings.Contains(err.Error(), canaryAccess) {
		t.Errorf("err %v: want the credential's name and no token", err)
	}
}

func TestGrantThatIsNoneIsCorrupt(t *testing.T) {
	t.Parallel()
	r, keys := sealedRecord(t)
	var err error
	r.Grant, err = keys.Grant.Seal([]byte(canaryRefresh), seal.Binding{
		Bucket: "tokens", Key: r.Credential().Key(), Field: "grant", GrantID: r.GrantID, Generation: r.Generation, Version: r.Version,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = keys.OpenGrant(&r)
	wantSealed(t, err, seal.ErrCorrupt)
}

func TestJournalEntryIsBoundToItsAttempt(t *testing.T) {
	t.Parallel()
	_, keys := sealedRecord(t)
	ticket := refresh.Ticket{Attempt: "a1", Worker: "w1", Key: "acme.alice", GrantID: "g", Generation: 1, Version: 3, Reason: "scheduled", Skew: -5}
	out := answered(200, typeJSON, `{"access_token":"`+canaryAccess+`"}`)
	entry, err := keys.SealOutcome(ticket, out)
	if err != nil || entry.ID != "a1" || entry.Key != "acme.alice" || bytes.Contains(entry.Data, []byte(canaryAccess)) {
		t.Fatalf("entry %s of %s: %v", entry.ID, entry.Key, err)
	}
	gotTicket, got, err := keys.OpenOutcome(entry)
	if err != nil || gotTicket != ticket || !bytes.Equal(got.Body, out.Body) || !got.EndedAt.Equal(out.EndedAt) || got.Status != 200 {
		t.Errorf("got %+v, status %d: %v", gotTicket, got.Status, err)
	}
	for name, change := range map[string]func(*refresh.Entry, *refresh.Keys){
		"another attempt":    func(e *refresh.Entry, _ *refresh.Keys) { e.ID = "a2" },
		"another credential": func(e *refresh.Entry, _ *refresh.Keys) { e.Key = "acme.bob" },
		"another bucket":     func(_ *refresh.Entry, k *refresh.Keys) { k.Bucket = "other" },
		"altered":            func(e *refresh.Entry, _ *refresh.Keys) { e.Data = append(bytes.Clone(e.Data), 0) },
		"other keys":         func(_ *refresh.Entry, k *refresh.Keys) { k.Grant = k.Access },
	} {
		e, k := entry, keys
		change(&e, &k)
		if _, out, err := k.OpenOutcome(e); err == nil || len(out.Body) != 0 || !strings.Contains(err.Error(), e.ID) {
			t.Errorf("%s: err %v", name, err)
		}
	}
}
