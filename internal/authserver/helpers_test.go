package authserver_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/authserver"
)

// result is what a request got.
type result struct {
	status int
	header http.Header
	body   map[string]any
}

// str returns a member of the body, empty if it is none.
func (r result) str(name string) string {
	s, _ := r.body[name].(string)
	return s
}

func (r result) num(name string) float64 {
	n, _ := r.body[name].(float64)
	return n
}

// call serves a request without a network.
func call(t *testing.T, h http.Handler, req *http.Request) result {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	out := result{status: w.Code, header: w.Result().Header}
	if out.header.Get("Content-Type") == "application/json" && w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out.body); err != nil {
			t.Fatalf("body of %s %s is not JSON: %v", req.Method, req.URL.Path, err)
		}
	}
	return out
}

// formRequest is a POSTed form of name, value pairs.
func formRequest(path string, pairs ...string) *http.Request {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(v.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

// withBody replaces the body of a request.
func withBody(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
}

// post posts a form as the client dev.
func post(t *testing.T, s *authserver.Server, path string, pairs ...string) result {
	t.Helper()
	req := formRequest(path, pairs...)
	req.SetBasicAuth("dev", "dev-secret")
	return call(t, s, req)
}

func refresh(t *testing.T, s *authserver.Server, token string) result {
	t.Helper()
	return post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", token)
}

// rotated refreshes and returns the new refresh and access token.
func rotated(t *testing.T, s *authserver.Server, token string) (refreshToken, accessToken string) {
	t.Helper()
	r := refresh(t, s, token)
	if r.status != http.StatusOK || r.str("refresh_token") == "" || r.str("access_token") == "" {
		t.Fatalf("refresh: %d %v, want new tokens", r.status, r.body)
	}
	return r.str("refresh_token"), r.str("access_token")
}

// use presents an access token to the resource and returns the status.
func use(t *testing.T, s *authserver.Server, token string) result {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, "/resource", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	return call(t, s, req)
}

func issue(t *testing.T, s *authserver.Server, account string) authserver.Tokens {
	t.Helper()
	tokens, err := s.Issue(account, "")
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func wantStatus(t *testing.T, what string, r result, want int) {
	t.Helper()
	if r.status != want {
		t.Errorf("%s: status %d %v, want %d", what, r.status, r.body, want)
	}
}

// wantError checks an OAuth error reply.
func wantError(t *testing.T, what string, r result, status int, code string) {
	t.Helper()
	if r.status != status || r.str("error") != code {
		t.Errorf("%s: %d %q, want %d %q", what, r.status, r.str("error"), status, code)
	}
}

func wantCount(t *testing.T, what string, got, want int64) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %d, want %d", what, got, want)
	}
}

const (
	verifier    = "a-verifier-that-is-long-enough-for-rfc-7636-section-4.1"
	redirectURI = "http://127.0.0.1:4321/callback"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorizeQuery is a good authorization request, with changes: name, value
// pairs; an empty value removes the parameter.
func authorizeQuery(changes ...string) url.Values {
	v := url.Values{
		"response_type": {"code"}, "client_id": {"dev"}, "redirect_uri": {redirectURI}, "state": {"st"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"}, "login_hint": {"alice"},
	}
	for i := 0; i+1 < len(changes); i += 2 {
		v.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			v.Del(changes[i])
		}
	}
	return v
}

// authorize makes an authorization request and returns where it leads.
func authorize(t *testing.T, s *authserver.Server, query url.Values) (result, *url.URL) {
	t.Helper()
	r := call(t, s, httptest.NewRequest(http.MethodGet, "/authorize?"+query.Encode(), nil))
	to, err := url.Parse(r.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return r, to
}

// newCode gets an authorization code for alice.
func newCode(t *testing.T, s *authserver.Server) string {
	t.Helper()
	_, to := authorize(t, s, authorizeQuery())
	code := to.Query().Get("code")
	if code == "" {
		t.Fatalf("no code in %q", to)
	}
	return code
}

// redeem trades a code, with changes to the good request.
func redeem(t *testing.T, s *authserver.Server, code string, changes ...string) result {
	t.Helper()
	v := map[string]string{"grant_type": "authorization_code", "code": code, "redirect_uri": redirectURI, "code_verifier": verifier}
	for i := 0; i+1 < len(changes); i += 2 {
		v[changes[i]] = changes[i+1]
	}
	var pairs []string
	for name, value := range v {
		pairs = append(pairs, name, value)
	}
	return post(t, s, "/token", pairs...)
}
