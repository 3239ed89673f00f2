package enroll_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"testing"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
)

// TestLoginSaysWhatTheTokensAreFor: resource indicators and audience, whoever of definition and dialect names it.
func TestLoginSaysWhatTheTokensAreFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change              func(*provider.Definition)
		resources, audience []string
	}{
		"nothing": {func(*provider.Definition) {}, nil, nil},
		"two resources": {func(d *provider.Definition) { d.Resources = []string{"https://a.example", "https://b.example"} },
			[]string{"https://a.example", "https://b.example"}, nil},
		"an audience":                {func(d *provider.Definition) { d.Audience = "api" }, nil, []string{"api"}},
		"an audience of the dialect": {func(d *provider.Definition) { d.AuthParams = map[string]string{"audience": "api"} }, nil, []string{"api"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := acme()
			d.AuthURL, d.TokenURL = "https://login.example.com/authorize", "https://login.example.com/token"
			tt.change(d)
			var asked url.Values
			enough := errors.New("enough")
			_, err := enroll.Login(t.Context(), enroll.LoginConfig{Definition: d, Credential: alice, OpenBrowser: func(_ context.Context, address string) error {
				u, err := url.Parse(address)
				if err == nil {
					asked = u.Query()
				}
				return errors.Join(enough, err)
			}})
			if !errors.Is(err, enough) {
				t.Fatal(err)
			}
			if !slices.Equal(asked["resource"], tt.resources) || !slices.Equal(asked["audience"], tt.audience) {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}
