package refresh_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// A reply whose tokens are found keeps them whatever else is in it, and nothing readable carries them.
func FuzzParseReply(f *testing.F) {
	for _, body := range []string{
		goodReply, `{"access_token":"a","expires_in":3.6e3,"scope":["x"]}`, "access_token=a&refresh_token=r", "\ufeff{\"error\":{}}",
		`{"access_token":"a","x":{"refresh_token":"r"}}`, `{"access_token":"a"}}}`, `{"access_token":1e999,"expires_in":"-0x1p-2"}`,
	} {
		f.Add("application/json", []byte(body), "junk", []byte(`{"a":[1,null]}`))
	}
	f.Add("text/html", []byte("<html>"), "expires_in", []byte(`"soon"`))
	f.Fuzz(func(t *testing.T, contentType string, body []byte, name string, value []byte) {
		r, err := refresh.ParseReply(contentType, body)
		if err != nil {
			return
		}
		checkReply(t, r)
		if !json.Valid(value) || strings.HasSuffix(name, "_token") {
			return
		}
		plain := map[string]any{"access_token": r.AccessToken.Reveal(), name: json.RawMessage(value)}
		if !r.RefreshToken.IsZero() {
			plain["refresh_token"] = r.RefreshToken.Reveal()
		}
		junk, err := json.Marshal(plain)
		if err != nil {
			t.Fatal(err)
		}
		again, err := refresh.ParseReply(contentType, junk)
		if err != nil {
			t.Fatalf("junk member %q lost the tokens: %v", name, err)
		}
		checkReply(t, again)
		if again.AccessToken.Reveal() != r.AccessToken.Reveal() || again.RefreshToken.Reveal() != r.RefreshToken.Reveal() {
			t.Fatalf("junk member %q changed the tokens", name)
		}
	})
}

func checkReply(t *testing.T, r refresh.Reply) {
	t.Helper()
	switch {
	case r.AccessToken.IsZero():
		t.Fatal("no access token and no error")
	case r.Lifetime < 0, r.GrantLifetime < 0, r.Lifetime > 36500*wholeDay, r.GrantLifetime > 36500*wholeDay:
		t.Fatalf("lifetimes %v, %v", r.Lifetime, r.GrantLifetime)
	case r.TokenType == "" || len(r.TokenType) > 64:
		t.Fatalf("token type %q", r.TokenType)
	case len(r.Meta) > 16<<10, r.Meta != nil && !json.Valid(r.Meta):
		t.Fatalf("meta: %d bytes, JSON %v", len(r.Meta), json.Valid(r.Meta))
	}
	for _, secret := range []string{r.AccessToken.Reveal(), r.RefreshToken.Reveal()} {
		// A token made of JSON's own characters is found between the members.
		if len(secret) >= 8 && !strings.ContainsAny(secret, `"{}[],:\`) && strings.Contains(string(r.Meta), secret) {
			t.Fatalf("meta carries a token: %s", r.Meta)
		}
	}
}
