package app_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// TestNarrowedScopesAreRecorded: at the login, or when a later answer names fewer.
func TestNarrowedScopesAreRecorded(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{Workers: 1, Provider: func(d *provider.Definition) { d.Scopes = []string{"openid", "a", "b"} }})
	for account, said := range map[string][]string{"told-at-once": {"a"}, "told-later": {"a", "b"}} {
		tokens, err := f.auth.Issue(account, "", "a")
		f.must(err)
		c := events.Credential{Provider: "acme", Account: account}
		_, err = f.writer.Enroll(f.ctx, &f.acme, c, enroll.NewGrant{
			RefreshToken: seal.NewSecret(tokens.RefreshToken), AccessToken: seal.NewSecret(tokens.AccessToken),
			StartedAt: time.Now().Add(-10 * time.Minute), Lifetime: time.Hour, Scopes: said,
		})
		f.must(err)
		if got := f.record(c).Record.Narrowed; slices.Contains(got, "b") == slices.Contains(said, "b") {
			t.Errorf("%s, enrolled: narrowed by %q", account, got)
		}
		if r := f.demanded(c); r.Class != refresh.ClassOK {
			t.Fatalf("%s: %s, %v", account, r.Class, r.Err)
		}
		if r := f.record(c).Record; !slices.Equal(r.Scopes, []string{"a"}) || !slices.Equal(r.Narrowed, []string{"b"}) {
			t.Errorf("%s, refreshed: scopes %q, narrowed by %q", account, r.Scopes, r.Narrowed)
		}
	}
	wider := f.acme
	wider.Scopes = append(slices.Clone(wider.Scopes), "c")
	a, err := app.Apply(f.ctx, f.Broker, f.grant, wider, false)
	f.must(err)
	if len(a.Warnings) != 1 || !strings.HasSuffix(a.Warnings[0], "next login only: c") {
		t.Errorf("apply of another scope warns %q", a.Warnings)
	}
}
