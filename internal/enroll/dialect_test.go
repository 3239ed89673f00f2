package enroll_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
)

// TestLoginSpeaksTheProvidersDialect logs in at a provider that notes what it is asked, and how.
func TestLoginSpeaksTheProvidersDialect(t *testing.T) {
	t.Parallel()
	day := provider.Duration(24 * time.Hour)
	tests := map[string]struct {
		dialect provider.Dialect
		auth    string // the authorization request but for what is random
		token   string // the token request likewise
		format  string
	}{
		"none": {
			auth:   "client_id=dev&code_challenge_method=S256&login_hint=alice&response_type=code&scope=read+write",
			token:  "code=c&grant_type=authorization_code",
			format: "application/x-www-form-urlencoded",
		},
		"parameters, separator, nested tokens": {
			dialect: provider.Dialect{
				ScopeSeparator: ",", ScopeParam: "user_scope", Reply: provider.ReplyShape{Tokens: "authed_user"},
				AuthParams: map[string]string{"access_type": "offline", "prompt": ""}, CodeParams: map[string]string{"expiring": "1"},
			},
			auth:   "access_type=offline&client_id=dev&code_challenge_method=S256&login_hint=alice&response_type=code&user_scope=read%2Cwrite",
			token:  "code=c&expiring=1&grant_type=authorization_code",
			format: "application/x-www-form-urlencoded",
		},
		"names, hex, JSON": {
			dialect: provider.Dialect{ClientIDParam: "client_key", CodeChallenge: provider.ChallengeS256Hex, TokenFormat: provider.FormatJSON},
			auth:    "client_key=dev&code_challenge_method=S256&login_hint=alice&response_type=code&scope=read+write",
			token:   "client_key=dev&client_secret=dev-secret&code=c&grant_type=authorization_code",
			format:  "application/json",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var auth, token url.Values
			var format string
			d := providerAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					token, format = sent(r), r.Header.Get("Content-Type")
					tokens := `"access_token":"a","refresh_token":"r","expires_in":60`
					_, _ = io.WriteString(w, `{"ok":true,"authed_user":{`+tokens+`},`+tokens+`}`)
					return
				}
				auth = r.URL.Query()
				http.Redirect(w, r, auth.Get("redirect_uri")+"?code=c&state="+auth.Get("state"), http.StatusFound)
			}))
			d.Dialect, d.AuthStyle = tt.dialect, provider.AuthBasic
			if tt.dialect.ClientIDParam != "" {
				d.AuthStyle = provider.AuthPost
			}
			d.RefreshLife = provider.RefreshLife{Idle: 90 * day}
			g, err := login(t, d, enroll.PlayBrowser(browser(t)))
			if err != nil || g.RefreshToken.Reveal() != "r" || g.Lifetime != time.Minute {
				t.Fatalf("grant %+v, %v", g, err)
			}
			if want := challenge(token.Get("code_verifier"), tt.dialect.CodeChallenge); auth.Get("code_challenge") != want {
				t.Errorf("code challenge %q, want %q", auth.Get("code_challenge"), want)
			}
			for _, random := range []string{"redirect_uri", "state", "code_challenge", "code_verifier"} {
				auth.Del(random)
				token.Del(random)
			}
			if auth.Encode() != tt.auth || token.Encode() != tt.token || format != tt.format {
				t.Errorf("authorization request %s\nwant %s\ntoken request %s (%s)\nwant %s (%s)", auth.Encode(), tt.auth, token.Encode(), format, tt.token, tt.format)
			}
		})
	}
}

// sent are the members of a token request, whatever its format.
func sent(r *http.Request) url.Values {
	if r.Header.Get("Content-Type") != "application/json" {
		_ = r.ParseForm()
		return r.PostForm
	}
	var object map[string]string
	_ = json.NewDecoder(r.Body).Decode(&object)
	form := make(url.Values)
	for name, value := range object {
		form.Set(name, value)
	}
	return form
}

func challenge(verifier string, how provider.CodeChallenge) string {
	sum := sha256.Sum256([]byte(verifier))
	if how == provider.ChallengeS256Hex {
		return hex.EncodeToString(sum[:])
	}
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestLoginRefusesParametersOfItsOwn(t *testing.T) {
	t.Parallel()
	d := acme()
	d.AuthParams = map[string]string{"state": "fixed"}
	if _, err := login(t, d, enroll.PlayBrowser(browser(t))); err == nil || !strings.Contains(err.Error(), "the login sets it itself") {
		t.Errorf("error %v", err)
	}
}

// TestAJSONTokenRequestNamesEveryResource (RFC 8707 section 2): a JSON object has no second member of a name.
func TestAJSONTokenRequestNamesEveryResource(t *testing.T) {
	t.Parallel()
	for name, resources := range map[string][]string{"one": {"https://a.example"}, "two": {"https://a.example", "https://b.example"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var body struct {
				Resource json.RawMessage `json:"resource"`
			}
			d := providerAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					_ = json.NewDecoder(r.Body).Decode(&body)
					_, _ = io.WriteString(w, `{"access_token":"a","refresh_token":"r","expires_in":60}`)
					return
				}
				q := r.URL.Query()
				http.Redirect(w, r, q.Get("redirect_uri")+"?code=c&state="+q.Get("state"), http.StatusFound)
			}))
			d.TokenFormat, d.Resources = provider.FormatJSON, resources
			if _, err := login(t, d, enroll.PlayBrowser(browser(t))); err != nil {
				t.Fatal(err)
			}
			want, _ := json.Marshal(resources)
			if len(resources) == 1 {
				want, _ = json.Marshal(resources[0])
			}
			if string(body.Resource) != string(want) {
				t.Errorf("asked for %s, want %s", body.Resource, want)
			}
		})
	}
}
