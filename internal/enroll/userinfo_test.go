package enroll_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
)

func TestUserinfoNamesTheAccount(t *testing.T) {
	t.Parallel()
	bare := func(string) map[string]any { return nil }
	named := func(string) map[string]any { return map[string]any{"preferred_username": "ali"} }
	for name, tt := range map[string]struct {
		status int
		body   string
		claims func(string) map[string]any // of the ID token
		want   string
		err    error
	}{
		"its username":               {200, `{"login":"octocat","id":1}`, nil, "octocat", nil},
		"its number":                 {200, `{"id":583231}`, nil, "583231", nil},
		"the ID token goes before":   {200, `{"sub":"alice","preferred_username":"x"}`, named, "ali", nil},
		"its username completes it":  {200, `{"sub":"alice","preferred_username":"ali"}`, bare, "ali", nil},
		"else the subject is enough": {403, `{}`, bare, "alice", nil},
		"but not for the time being": {503, ``, bare, "", enroll.ErrNoUserinfo},
		"and no news is no harm":     {200, `{"sub":"alice"}`, bare, "alice", nil},
		"of another subject":         {200, `{"sub":"mallory","preferred_username":"ali"}`, bare, "", enroll.ErrNoUserinfo},
		"of no subject":              {200, `{"preferred_username":"ali"}`, bare, "", enroll.ErrNoUserinfo},
		"nobody":                     {200, `{}`, nil, "", enroll.ErrNoUserinfo},
		"a signed answer":            {200, `eyJ.eyJ.x`, nil, "", enroll.ErrNoUserinfo},
		"a refusal":                  {403, `{"login":"octocat"}`, nil, "", enroll.ErrNoUserinfo},
		"a redirect":                 {302, ``, nil, "", enroll.ErrNoUserinfo},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth := authserver.New(authserver.Config{Claims: tt.claims})
			d := providerAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/userinfo" {
					auth.ServeHTTP(w, r)
					return
				}
				if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") || r.Header.Get("User-Agent") == "" {
					t.Errorf("asked with %v", r.Header)
				}
				w.Header().Set("Location", "/token")
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			d.UserinfoURL = d.Issuer + "/userinfo"
			saved := ""
			_, err := enroll.Login(t.Context(), enroll.LoginConfig{
				Definition: d, Credential: events.Credential{Provider: "acme"}, Hint: "alice", OpenBrowser: enroll.PlayBrowser(browser(t)),
				Save: func(_ context.Context, g enroll.NewGrant) error { saved = g.Account; return nil },
			})
			if tt.err == nil && err != nil {
				t.Fatal(err)
			}
			if tt.err != nil {
				wantErr(t, err, tt.err)
			}
			if saved != tt.want {
				t.Errorf("saved as %q", saved)
			}
		})
	}
}
