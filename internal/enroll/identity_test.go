package enroll_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
)

// loginAs logs in without naming an account, at a provider that says this about whoever agrees.
func loginAs(t *testing.T, claims func(string) map[string]any) (g enroll.NewGrant, saved string, err error) {
	t.Helper()
	_, d := authServer(t, authserver.Config{Claims: claims})
	g, err = enroll.Login(t.Context(), enroll.LoginConfig{
		Definition: d, Credential: events.Credential{Provider: "acme"}, Hint: "alice", OpenBrowser: enroll.PlayBrowser(browser(t)),
		Save: func(_ context.Context, g enroll.NewGrant) error { saved = g.Account; return nil },
	})
	return g, saved, err
}

func TestTheProviderNamesTheAccount(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"by its username first":                            {map[string]any{"preferred_username": "ali", "email": "alice@example.com"}, "ali"},
		"by its email address":                             {map[string]any{"email": "alice@example.com", "email_verified": true}, "alice@example.com"},
		"not by one of which the provider does not say it": {map[string]any{"email": "alice@example.com"}, "alice"},
		"not by an unverified one":                         {map[string]any{"email": "alice@example.com", "email_verified": false}, "alice"},
		"nor when that is a text":                          {map[string]any{"email": "alice@example.com", "email_verified": "false"}, "alice"},
		"by its subject":                                   {nil, "alice"},
		"with several audiences":                           {map[string]any{"aud": []string{"other", "dev"}}, "alice"},
		"with an end that just was":                        {map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}, "alice"},
		"with members of other kinds":                      {map[string]any{"user_id": 7, "id": []int{1}}, "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, saved, err := loginAs(t, func(string) map[string]any { return tt.claims })
			if err != nil || saved != tt.want || g.Account != tt.want || !g.Identity.Known() {
				t.Errorf("saved as %q, %+v, %v; want %q", saved, g.Identity, err, tt.want)
			}
		})
	}
}

func TestWhatDoesNotNameAnAccount(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims func(string) map[string]any
		want   error
	}{
		"no ID token":                   {nil, enroll.ErrNoAccount},
		"another issuer's":              {func(string) map[string]any { return map[string]any{"iss": "https://evil.test"} }, enroll.ErrForeignIDToken},
		"one for another client":        {func(string) map[string]any { return map[string]any{"aud": "other"} }, enroll.ErrForeignIDToken},
		"one that ended":                {func(string) map[string]any { return map[string]any{"exp": time.Now().Add(-time.Hour).Unix()} }, enroll.ErrForeignIDToken},
		"one with claims of other kind": {func(string) map[string]any { return map[string]any{"sub": []int{1}} }, enroll.ErrForeignIDToken},
		"a name in another's tenant":    {func(string) map[string]any { return map[string]any{"preferred_username": "t-1/alice"} }, enroll.ErrNoAccount},
		"a name that no key can have":   {func(string) map[string]any { return map[string]any{"sub": "a\x00" + string(make([]byte, 300))} }, events.ErrName},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, saved, err := loginAs(t, tt.claims)
			wantErr(t, err, tt.want)
			if saved != "" {
				t.Errorf("saved as %q", saved)
			}
		})
	}
}

func TestIdentityIsAnAccount(t *testing.T) {
	t.Parallel()
	i := enroll.Identity{Username: "ali", Email: "alice@example.com", Subject: "248289761001"}
	for name, want := range map[string]bool{
		"ali": true, "Alice@Example.com": true, "248289761001": true, "acme/alice@example.com": true, "team/x/ali": true,
		"": false, "Ali": false, "bob": false, "acme/bob": false, "ali/bob": false, "acme/": false,
	} {
		if got := i.Is(name); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
	if (enroll.Identity{}).Is("") {
		t.Error("nobody is the account without a name")
	}
}

func TestIdentityShowsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	i := enroll.Identity{Username: "bob", Email: "alice@example.com", Subject: "248289761001"}
	for asked, want := range map[string]bool{
		"sub:248289761001": true, "email:Alice@example.com": true, "name:bob": true,
		"bob": true, "248289761001": true, "alice@example.com": true,
		"sub:bob": false, "email:bob": false, "name:248289761001": false, "sub:": false, "email:": false, "name:": false, "": false,
		"https://acme.test/users/bob": false, "team/bob": false, "other:bob": false,
	} {
		if got := i.Shows(asked); got != want {
			t.Errorf("%q: %t, want %t", asked, got, want)
		}
	}
	for _, asked := range []string{"", "sub:", "email:", "name:"} {
		if (enroll.Identity{}).Shows(asked) {
			t.Errorf("nobody is %q", asked)
		}
	}
}

func TestIssuerOfAnAnswer(t *testing.T) {
	t.Parallel()
	const iss = "https://acme.test"
	for name, tt := range map[string]struct {
		issuer string
		named  bool
		answer url.Values
		want   bool
	}{
		"the right one":                    {iss, true, url.Values{"iss": {iss}}, true},
		"another":                          {iss, false, url.Values{"iss": {"https://evil.test"}}, false},
		"one slash more":                   {iss, false, url.Values{"iss": {iss + "/"}}, false},
		"an empty one":                     {iss, false, url.Values{"iss": {""}}, false},
		"none, from one that names itself": {iss, true, url.Values{}, false},
		"none, from one that may not":      {iss, false, url.Values{}, true},
		"nothing to compare with":          {"", false, url.Values{"iss": {iss}}, true},
	} {
		if got := enroll.SentBy(tt.issuer, tt.named, tt.answer); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}
