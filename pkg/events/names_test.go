package events_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/events"
)

func TestNames(t *testing.T) {
	t.Parallel()
	c := events.Credential{Provider: "acme", Account: "alice@example.com"}
	build := func(n events.Names) []string {
		return append([]string{
			n.TokensBucket(), n.TokensStream(), n.RecordSubject(c),
			n.ProvidersBucket(), n.ProvidersStream(), n.ProviderSubject("acme"),
			n.EnrollmentsBucket(), n.EnrollmentsStream(), n.EnrollmentSubject("state_x"),
			n.JobsStream(), n.JobsSubjects(), n.JobSubject(c), n.LaneSubjects("acme"),
			n.EventsStream(), n.EventSubject(events.TokenUpdated, c), n.ProviderEventSubject(events.ProviderPaused, "acme"),
			n.AuditStream(), n.AuditSubjects(), n.AuditSubject("revoked", c.Key()), n.AuditSubject("keys_rotated", ""),
		}, n.EventsSubjects()...)
	}
	for namespace, want := range map[string][]string{
		"": {
			"tokens", "KV_tokens", "$KV.tokens.acme.alice=40example=2Ecom",
			"providers", "KV_providers", "$KV.providers.acme",
			"enrollments", "KV_enrollments", "$KV.enrollments.state_x",
			"REFRESH_JOBS", "refresh.jobs.>", "refresh.jobs.acme.alice=40example=2Ecom", "refresh.jobs.acme.>",
			"TOKEN_EVENTS", "token.updated.acme.alice=40example=2Ecom", "provider.paused.acme",
			"AUDIT", "audit.>", "audit.revoked.acme.alice=40example=2Ecom", "audit.keys_rotated",
			"token.>", "provider.>",
		},
		"staging": {
			"staging_tokens", "KV_staging_tokens", "$KV.staging_tokens.acme.alice=40example=2Ecom",
			"staging_providers", "KV_staging_providers", "$KV.staging_providers.acme",
			"staging_enrollments", "KV_staging_enrollments", "$KV.staging_enrollments.state_x",
			"staging_REFRESH_JOBS", "staging.refresh.jobs.>", "staging.refresh.jobs.acme.alice=40example=2Ecom", "staging.refresh.jobs.acme.>",
			"staging_TOKEN_EVENTS", "staging.token.updated.acme.alice=40example=2Ecom", "staging.provider.paused.acme",
			"staging_AUDIT", "staging.audit.>", "staging.audit.revoked.acme.alice=40example=2Ecom", "staging.audit.keys_rotated",
			"staging.token.>", "staging.provider.>",
		},
	} {
		n, err := events.NewNames(namespace)
		if err != nil || n.Namespace() != namespace {
			t.Fatalf("NewNames(%q) = %q, %v", namespace, n.Namespace(), err)
		}
		for i, got := range build(n) {
			if got != want[i] {
				t.Errorf("namespace %q: %q, want %q", namespace, got, want[i])
			}
		}
	}
}

func TestNewNamesRefuses(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"Staging", "a.b", "a_b", "-a", "*", strings.Repeat("a", 33), "token", "provider", "audit", "refresh"} {
		if _, err := events.NewNames(namespace); !errors.Is(err, events.ErrName) {
			t.Errorf("NewNames(%q): %v, want ErrName", namespace, err)
		}
	}
}

func genNames() *rapid.Generator[events.Names] {
	return rapid.Custom(func(t *rapid.T) events.Names {
		n, err := events.NewNames(rapid.SampledFrom([]string{"", "staging", "prod", "tokens", "jobs", "a-b"}).Draw(t, "namespace"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	})
}

func genCredential() *rapid.Generator[events.Credential] {
	return rapid.Custom(func(t *rapid.T) events.Credential {
		return events.Credential{
			Provider: rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,31}`).Draw(t, "provider"),
			Account:  rapid.OneOf(rapid.StringN(1, 30, 50), rapid.StringMatching(`[a./@=*>]{1,20}`)).Draw(t, "account"),
		}
	}).Filter(func(c events.Credential) bool { return c.Validate() == nil })
}

func TestNamesReadBackWhatTheyBuild(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, c := genNames().Draw(t, "names"), genCredential().Draw(t, "credential")
		if key, ok := n.RecordKey(n.RecordSubject(c)); !ok || key != c.Key() {
			t.Fatalf("RecordKey = %q, %t", key, ok)
		}
		if key, ok := n.JobKey(n.JobSubject(c)); !ok || key != c.Key() {
			t.Fatalf("JobKey = %q, %t", key, ok)
		}
		want := rapid.SampledFrom(events.Types()).Draw(t, "type")
		subject, wantKey := n.EventSubject(want, c), c.Key()
		if want.AboutProvider() {
			subject, wantKey = n.ProviderEventSubject(want, c.Provider), c.Provider
		}
		if got, key, err := n.ParseEventSubject(subject); err != nil || got != want || key != wantKey {
			t.Fatalf("ParseEventSubject(%q) = %q, %q, %v", subject, got, key, err)
		}
	})
}

func TestNamesOfAnotherNamespaceAreForeign(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ours, theirs := genNames().Draw(t, "ours"), genNames().Draw(t, "theirs")
		c := genCredential().Draw(t, "credential")
		if ours == theirs {
			return
		}
		if key, ok := ours.RecordKey(theirs.RecordSubject(c)); ok {
			t.Fatalf("read a foreign record as %q", key)
		}
		if key, ok := ours.JobKey(theirs.JobSubject(c)); ok {
			t.Fatalf("read a foreign job as %q", key)
		}
		if _, key, err := ours.ParseEventSubject(theirs.EventSubject(events.TokenUpdated, c)); err == nil {
			t.Fatalf("read a foreign event as %q", key)
		}
	})
}

func TestParseEventSubject(t *testing.T) {
	t.Parallel()
	var n events.Names
	for subject, want := range map[string]string{
		"token.updated.acme.alice":     "token.updated acme.alice",
		"token.updated.acme.a.b":       "token.updated acme.a.b",
		"token.not_known_yet.acme.a":   "token.not_known_yet acme.a",
		"provider.paused.acme":         "provider.paused acme",
		"provider.not_known_yet2.acme": "provider.not_known_yet2 acme",
	} {
		got, key, err := n.ParseEventSubject(subject)
		if err != nil || string(got)+" "+key != want {
			t.Errorf("ParseEventSubject(%q) = %q, %q, %v, want %s", subject, got, key, err, want)
		}
	}
	for _, bad := range []string{
		"", "token", "token.", "token.updated", "token.updated.", "token.updated.acme", "token..acme.a", "token.Updated.acme.a",
		"token.*.acme.a", "token.up-dated.acme.a", "token.updated.acme.a@b", "token.updated.acme.>", "tokens.updated.acme.a",
		"provider.paused", "provider.paused.Acme", "provider.paused.acme.alice", "staging.token.updated.acme.a", "refresh.jobs.acme.a",
		strings.Repeat("x", 1<<20),
	} {
		if got, key, err := n.ParseEventSubject(bad); !errors.Is(err, events.ErrName) {
			t.Errorf("ParseEventSubject(%.40q) = %q, %q, %v, want ErrName", bad, got, key, err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
}
