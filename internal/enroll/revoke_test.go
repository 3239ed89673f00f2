package enroll_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestWhatTheProviderIsToldOfARevocation(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		grant  refresh.Grant
		status int // of the answers after the first
		told   []string
	}{
		"both refresh tokens": {
			refresh.Grant{RefreshToken: seal.NewSecret("new"), Previous: seal.NewSecret("old")}, 200, []string{"refresh_token new", "refresh_token old"},
		},
		"an old one that is not known any more": {
			refresh.Grant{RefreshToken: seal.NewSecret("new"), Previous: seal.NewSecret("old")}, 403, []string{"refresh_token new", "refresh_token old"},
		},
		"the access token alone": {refresh.Grant{}, 200, []string{"access_token access"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			var told []string
			d := providerAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if told = append(told, r.FormValue("token_type_hint")+" "+r.FormValue("token")); len(told) > 1 {
					w.WriteHeader(tt.status)
				}
			}))
			d.RevokeURL = d.Issuer + "/revoke"
			s, err := h.writer.Enroll(t.Context(), d, alice, grant("access", "refresh"))
			if err != nil {
				t.Fatal(err)
			}
			if err := h.keys.Seal(&s.Record, tt.grant, seal.NewSecret("access")); err != nil {
				t.Fatal(err)
			}
			h.put(t, s)
			ask := refresh.NewAsker(nil)
			defer ask.CloseIdle()
			ok, err := enroll.Revoke(t.Context(), enroll.RevokeConfig{Writer: h.writer, Definition: d, Revoke: ask.Revoke, RevokeAccess: ask.RevokeAccess}, alice)
			if err != nil || !ok || !slices.Equal(told, tt.told) {
				t.Errorf("told %t, of %q, %v; want %q", ok, told, err, tt.told)
			}
			if r := h.stored(t, alice).Record; len(r.Grant)+len(r.Access) != 0 {
				t.Error("the secrets are still there")
			}
		})
	}
}
