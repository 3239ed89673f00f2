package enroll_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestLoginTriesEachClientSecret(t *testing.T) {
	t.Parallel()
	_, d := authServer(t, authserver.Config{})
	d.ClientSecrets = []seal.Secret{seal.NewSecret("old"), seal.NewSecret("dev-secret")}
	if _, err := login(t, d, enroll.PlayBrowser(browser(t))); err != nil {
		t.Fatal(err)
	}
	d.ClientSecrets = []seal.Secret{seal.NewSecret("canary-1"), seal.NewSecret("canary-2")}
	_, err := login(t, d, enroll.PlayBrowser(browser(t)))
	var refused *enroll.ExchangeError
	if !errors.As(err, &refused) || refused.Code != "invalid_client" || refused.Class != refresh.ClassMisconfigured {
		t.Fatalf("error = %v, want invalid_client", err)
	}
	if !strings.Contains(err.Error(), "client_secret") || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %q", err)
	}
}

// tokenEndpoint is a provider whose authorization endpoint agrees and whose token endpoint does as it is told.
func tokenEndpoint(t *testing.T, answer http.HandlerFunc) *provider.Definition {
	t.Helper()
	d := providerAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			answer(w, r)
			return
		}
		q := r.URL.Query()
		http.Redirect(w, r, q.Get("redirect_uri")+"?code=canary-code&state="+q.Get("state"), http.StatusFound)
	}))
	return d
}

func TestAnswersOfTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect of the token endpoint was followed")
	}))
	t.Cleanup(elsewhere.Close)
	say := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string // in the error; "": it works
	}{
		{"JSON sent as text, with a fraction for a lifetime", say(200, "text/plain", `{"access_token":"a","expires_in":3600.0}`), ""},
		{"a form", say(200, "application/x-www-form-urlencoded", "access_token=a&expires_in=3600"), ""},
		{"a refusal with status 200", say(200, "application/json", `{"error":"bad_verification_code"}`), "bad_verification_code"},
		{"a refusal that repeats the code", say(400, "application/json", `{"error":"canary-code"}`), "withheld"},
		{"no JSON at all", say(200, "text/html", "<html>canary-code"), "HTTP 200"},
		{"a server error", say(500, "text/html", "oops canary-code"), "HTTP 500"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "HTTP 307"},
		{"a dropped connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "connection closed after the request was sent"},
		{"not HTTP", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "canary-code\r\n\r\n")
				conn.Close()
			}
		}, "not HTTP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, err := login(t, tokenEndpoint(t, tt.answer), enroll.PlayBrowser(browser(t)))
			if tt.want == "" {
				if err != nil || g.AccessToken.Reveal() != "a" || g.Lifetime != time.Hour || strings.Join(g.Scopes, " ") != "read write" {
					t.Errorf("%v, %+v", err, g)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("error = %v, want it to mention %q and not the code", err, tt.want)
			}
		})
	}
}

func TestTheTokenRequest(t *testing.T) {
	t.Parallel()
	d := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
			t.Error(r.Method, err)
		}
		user, password, _ := r.BasicAuth()
		if user != "dev" || password != "dev-secret" || r.PostForm.Has("client_secret") {
			t.Errorf("authenticated as %s, %s", user, password)
		}
		if r.PostForm.Get("grant_type") != "authorization_code" || len(r.PostForm.Get("code_verifier")) < 43 {
			t.Errorf("form %v", r.PostForm)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "instance_url": "https://eu1.example.com"})
	})
	g, err := login(t, d, enroll.PlayBrowser(browser(t)))
	if err != nil {
		t.Fatal(err)
	}
	if string(g.Meta) != `{"instance_url":"https://eu1.example.com"}` || g.TokenType != "Bearer" {
		t.Errorf("meta %s, type %s", g.Meta, g.TokenType)
	}
}

func TestTokensGoToNoPlainHTTP(t *testing.T) {
	t.Parallel()
	_, d := authServer(t, authserver.Config{})
	d.TokenURL = "http://acme.test/token"
	_, err := login(t, d, enroll.PlayBrowser(browser(t)))
	if err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("error = %v", err)
	}
}

func TestAnIDTokenNamesItsLogin(t *testing.T) {
	t.Parallel()
	other := func(string) map[string]any { return map[string]any{"nonce": "of-another-login"} }
	none := func(string) map[string]any { return map[string]any{"nonce": ""} }
	right := func(string) map[string]any { return nil }
	for name, tt := range map[string]struct {
		claims func(string) map[string]any
		scopes []string
		params map[string]string
		asked  bool
		err    error
	}{
		"its own":                           {right, []string{"openid"}, nil, true, nil},
		"another's":                         {other, []string{"openid"}, nil, true, enroll.ErrForeignIDToken},
		"none":                              {none, []string{"openid"}, nil, true, enroll.ErrForeignIDToken},
		"none, where a provider knows none": {none, []string{"openid"}, map[string]string{"nonce": ""}, false, nil},
		"no ID token":                       {nil, []string{"openid"}, nil, true, nil},
		"not asked for":                     {none, nil, nil, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, d := authServer(t, authserver.Config{Claims: tt.claims})
			d.Scopes, d.AuthParams = tt.scopes, tt.params
			exchange := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{})
			defer exchange.CloseIdle()
			// Two halves, as in two processes.
			verifier := enroll.NewVerifier()
			half := func() enroll.Consent {
				return enroll.Consent{Definition: d, RedirectURI: "http://127.0.0.1/callback", Verifier: verifier, Exchange: exchange}
			}
			address, err := half().URL("state", "alice")
			if err != nil {
				t.Fatal(err)
			}
			if asked, _ := url.Parse(address); asked.Query().Has("nonce") != tt.asked || strings.Contains(address, verifier.Reveal()) {
				t.Errorf("asked with %s", address)
			}
			client := *browser(t)
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			resp, err := client.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			back, err := resp.Location()
			if err != nil {
				t.Fatal(err)
			}
			_, err = half().Redeem(t.Context(), back.Query())
			if tt.err == nil && err != nil {
				t.Fatal(err)
			}
			if tt.err != nil {
				wantErr(t, err, tt.err)
			}
		})
	}
}
