package events_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/events"
)

func TestTokenEventID(t *testing.T) {
	t.Parallel()
	d := events.Data{Provider: "acme", Account: "alice", GrantID: "abcdefgh", Generation: 2, Version: 17, Attempt: "tryone"}
	for kind, want := range map[events.Type]string{
		events.TokenUpdated:        "token.updated:abcdefgh:2:17",
		events.TokenRefreshFailed:  "token.refresh_failed:abcdefgh:2:17:tryone",
		events.TokenExpiring:       "token.expiring:abcdefgh:2:17",
		events.TokenReauthRequired: "token.reauth_required:abcdefgh:2:17:tryone",
		events.TokenRevoked:        "token.revoked:abcdefgh:2:17",
		events.TokenDeleted:        "token.deleted:abcdefgh:2:17",
	} {
		if got := events.TokenEventID(kind, d); got != want {
			t.Errorf("TokenEventID(%s) = %q, want %q", kind, got, want)
		}
	}
	d.Attempt = ""
	if got := events.TokenEventID(events.TokenReauthRequired, d); got != "token.reauth_required:abcdefgh:2:17" {
		t.Errorf("without an attempt: %q", got)
	}
	if got := events.ProviderEventID(events.ProviderPaused, "acme", 7); got != "provider.paused:acme:7" {
		t.Errorf("ProviderEventID = %q", got)
	}
}

// identity is the part of an event that its id stands for.
type identity struct {
	kind                events.Type
	grant, attempt      string
	generation, version uint64
}

func (i identity) id() string {
	return events.TokenEventID(i.kind, events.Data{
		GrantID: i.grant, Generation: i.generation, Version: i.version, Attempt: i.attempt,
		Reason: events.ReasonRecovered, Revision: 99, State: "whatever else the teller knows",
	})
}

func genIdentity() *rapid.Generator[identity] {
	text := rapid.OneOf(rapid.StringMatching(`[a:=%" ]{0,3}`), rapid.String())
	return rapid.Custom(func(t *rapid.T) identity {
		i := identity{
			kind:  rapid.SampledFrom(events.Types()).Draw(t, "type"),
			grant: text.Draw(t, "grant"), attempt: text.Draw(t, "attempt"),
			generation: rapid.Uint64Max(3).Draw(t, "generation"), version: rapid.Uint64Max(3).Draw(t, "version"),
		}
		if i.kind != events.TokenRefreshFailed && i.kind != events.TokenReauthRequired {
			i.attempt = ""
		}
		return i
	})
}

func TestTokenEventIDsDifferAsTheEventsDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := genIdentity().Draw(t, "a"), genIdentity().Draw(t, "b")
		if (a == b) != (a.id() == b.id()) {
			t.Fatalf("ids %q and %q of %+v and %+v", a.id(), b.id(), a, b)
		}
		for _, ch := range []byte(a.id()) {
			if ch < 0x21 || ch > 0x7e || ch == '"' || ch == '%' {
				t.Fatalf("%q is not fit for an attribute", a.id())
			}
		}
	})
}
