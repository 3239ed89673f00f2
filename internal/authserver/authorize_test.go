package authserver_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

func TestAuthorizeSendsBackACode(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	r, to := authorize(t, s, authorizeQuery())
	wantStatus(t, "authorize", r, http.StatusFound)
	q := to.Query()
	if got := to.Scheme + "://" + to.Host + to.Path; got != redirectURI {
		t.Errorf("redirect to %q, want %q", got, redirectURI)
	}
	if q.Get("code") == "" || q.Get("state") != "st" || q.Get("iss") != "http://example.com" {
		t.Errorf("redirect query %v: want code, state and iss", q)
	}
	if got := s.Ledger().Codes; got != 1 {
		t.Errorf("open codes = %d, want 1", got)
	}
}

func TestAuthorizeUsesTheConfiguredIssuer(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Issuer: "https://as.example"})
	_, to := authorize(t, s, authorizeQuery())
	if got := to.Query().Get("iss"); got != "https://as.example" {
		t.Errorf("iss = %q", got)
	}
}

func TestAuthorizeNeverRedirectsToAnUnprovenAddress(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{
		{ID: "dev", RedirectURIs: []string{"http://127.0.0.1/callback", "http://localhost/callback", "https://app.example/cb?x=1", "http://10.0.0.1/callback"}},
	}})
	for name, tc := range map[string]struct {
		uri    string
		status int
	}{
		"loopback with another port":                   {"http://127.0.0.1:9999/callback", http.StatusFound},
		"loopback without a port":                      {"http://127.0.0.1/callback", http.StatusFound},
		"https, exact":                                 {"https://app.example/cb?x=1", http.StatusFound},
		"loopback, other path":                         {"http://127.0.0.1:9999/other", http.StatusBadRequest},
		"loopback, other address":                      {"http://[::1]:9999/callback", http.StatusBadRequest},
		"loopback, with a query":                       {"http://127.0.0.1:9999/callback?a=b", http.StatusBadRequest},
		"loopback, with a fragment":                    {"http://127.0.0.1:9999/callback#f", http.StatusBadRequest},
		"loopback, with a user":                        {"http://me@127.0.0.1:9999/callback", http.StatusBadRequest},
		"localhost with a port":                        {"http://localhost:9999/callback", http.StatusBadRequest},
		"an address that is not loopback, with a port": {"http://10.0.0.1:9999/callback", http.StatusBadRequest},
		"https with a port":                            {"https://app.example:444/cb?x=1", http.StatusBadRequest},
		"a longer path":                                {"https://app.example/cb/../evil?x=1", http.StatusBadRequest},
		"https instead of http":                        {"https://127.0.0.1/callback", http.StatusBadRequest},
		"another host":                                 {"https://evil.example/cb?x=1", http.StatusBadRequest},
		"none":                                         {"", http.StatusBadRequest},
		"loopback as a name's prefix":                  {"http://127.0.0.1.evil.example/callback", http.StatusBadRequest},
		"not a URL":                                    {"http://[::1/callback", http.StatusBadRequest},
		"loopback in another notation":                 {"http://127.1/callback", http.StatusBadRequest},
	} {
		r, to := authorize(t, s, authorizeQuery("redirect_uri", tc.uri))
		wantStatus(t, name, r, tc.status)
		if r.status != http.StatusFound && to.String() != "" {
			t.Errorf("%s: redirected to %q", name, to)
		}
	}
	r, _ := authorize(t, s, authorizeQuery("client_id", "nobody"))
	wantStatus(t, "unknown client", r, http.StatusBadRequest)
}

func TestAuthorizeKeepsTheQueryOfTheRedirectURI(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{{ID: "dev", RedirectURIs: []string{"https://app.example/cb?x=1"}}}})
	_, to := authorize(t, s, authorizeQuery("redirect_uri", "https://app.example/cb?x=1"))
	if q := to.Query(); q.Get("x") != "1" || q.Get("code") == "" {
		t.Errorf("query %v: want x and code", q)
	}
}

func TestAuthorizeReportsErrorsByRedirect(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{
		{ID: "dev", RedirectURIs: []string{"http://127.0.0.1/callback"}, Scopes: []string{"a"}},
	}})
	for name, tc := range map[string]struct {
		changes []string
		want    string
	}{
		"no response type":    {[]string{"response_type", ""}, "invalid_request"},
		"the implicit flow":   {[]string{"response_type", "token"}, "unsupported_response_type"},
		"no PKCE":             {[]string{"code_challenge", ""}, "invalid_request"},
		"plain PKCE":          {[]string{"code_challenge_method", "plain"}, "invalid_request"},
		"PKCE method missing": {[]string{"code_challenge_method", ""}, "invalid_request"},
		"a short challenge":   {[]string{"code_challenge", "abc"}, "invalid_request"},
		"a foreign scope":     {[]string{"scope", "a b"}, "invalid_scope"},
		"a broken scope":      {[]string{"scope", `a"`}, "invalid_scope"},
	} {
		r, to := authorize(t, s, authorizeQuery(tc.changes...))
		q := to.Query()
		if r.status != http.StatusFound || q.Get("error") != tc.want || q.Get("state") != "st" || q.Get("iss") == "" || q.Has("code") {
			t.Errorf("%s: %d %v, want error %q with state and iss", name, r.status, q, tc.want)
		}
	}
	if got := s.Ledger().Errors["invalid_request"]; got != 5 {
		t.Errorf("ledger has %d invalid_request, want 5", got)
	}
}

func TestAuthorizeTakesOnlyGETAndNoRepeats(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	r := call(t, s, httptest.NewRequest(http.MethodPost, "/authorize?"+authorizeQuery().Encode(), nil))
	wantStatus(t, "POST", r, http.StatusMethodNotAllowed)
	r = call(t, s, httptest.NewRequest(http.MethodGet, "/authorize?"+authorizeQuery().Encode()+"&state=again", nil))
	wantStatus(t, "repeated state", r, http.StatusBadRequest)
}

func TestAuthorizeWithoutHintIsTheDefaultAccount(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	_, to := authorize(t, s, authorizeQuery("login_hint", ""))
	r := use(t, s, redeem(t, s, to.Query().Get("code")).str("access_token"))
	if r.str("account") != "user" {
		t.Errorf("account %q, want user", r.str("account"))
	}
}

func TestAuthorizeFaultDeniesAccess(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	deny := authserver.Fault{Kind: authserver.FaultError, Endpoint: "authorize", Code: "access_denied", Account: "alice"}
	if err := s.SetFaults([]authserver.Fault{deny}); err != nil {
		t.Fatal(err)
	}
	_, to := authorize(t, s, authorizeQuery())
	if got := to.Query().Get("error"); got != "access_denied" {
		t.Errorf("error %q, want access_denied", got)
	}
	if _, to = authorize(t, s, authorizeQuery("login_hint", "bob")); !to.Query().Has("code") {
		t.Errorf("another account was denied too: %v", to)
	}
}

func TestCodeIsGoodOnce(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	code := newCode(t, s)
	first := redeem(t, s, code)
	wantStatus(t, "first use", first, http.StatusOK)
	if r := use(t, s, first.str("access_token")); r.str("account") != "alice" {
		t.Errorf("resource says %v, want alice", r.body)
	}

	wantError(t, "second use", redeem(t, s, code), http.StatusBadRequest, "invalid_grant")
	wantStatus(t, "access token after reuse of the code", use(t, s, first.str("access_token")), http.StatusUnauthorized)
	wantError(t, "refresh token after reuse of the code", refresh(t, s, first.str("refresh_token")), http.StatusBadRequest, "invalid_grant")
	l := s.Ledger()
	wantCount(t, "enrolments", l.Enrolments, 1)
	wantCount(t, "revoked", l.Revoked, 1)
	wantCount(t, "replayed", l.Replayed, 0)
	if why := s.Account("alice").Grants[0].Ended; why != authserver.EndCodeReuse {
		t.Errorf("grant ended %q, want code_reuse", why)
	}
}

func TestCodeIsBound(t *testing.T) {
	t.Parallel()
	loopback := []string{"http://127.0.0.1/callback"}
	s := authserver.New(authserver.Config{Clients: []authserver.Client{
		{ID: "dev", Secret: "dev-secret", RedirectURIs: loopback},
		{ID: "other", Secret: "other-secret", RedirectURIs: loopback},
	}})
	for name, changes := range map[string][]string{
		"to the verifier":     {"code_verifier", strings.Repeat("x", 43)},
		"to the redirect URI": {"redirect_uri", "http://127.0.0.1:1/callback"},
	} {
		code := newCode(t, s)
		wantError(t, name, redeem(t, s, code, changes...), http.StatusBadRequest, "invalid_grant")
		wantError(t, name+": after the failure", redeem(t, s, code), http.StatusBadRequest, "invalid_grant")
	}
	for _, missing := range []string{"code", "code_verifier", "redirect_uri"} {
		wantError(t, "without "+missing, redeem(t, s, newCode(t, s), missing, ""), http.StatusBadRequest, "invalid_request")
	}
	wantError(t, "made up", redeem(t, s, "made-up"), http.StatusBadRequest, "invalid_grant")

	code := newCode(t, s)
	stolen := formRequest("/token", "grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI, "code_verifier", verifier)
	stolen.SetBasicAuth("other", "other-secret")
	wantError(t, "another client", call(t, s, stolen), http.StatusBadRequest, "invalid_grant")
	good := redeem(t, s, code)
	wantStatus(t, "its own client, after another tried", good, http.StatusOK)
	stolen = formRequest("/token", "grant_type", "authorization_code", "code", code, "redirect_uri", redirectURI, "code_verifier", verifier)
	stolen.SetBasicAuth("other", "other-secret")
	wantError(t, "another client, after its own", call(t, s, stolen), http.StatusBadRequest, "invalid_grant")
	wantStatus(t, "the grant, after another client's try", refresh(t, s, good.str("refresh_token")), http.StatusOK)
	wantError(t, "as a refresh token", refresh(t, s, newCode(t, s)), http.StatusBadRequest, "invalid_grant")
}

func TestCodeExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{CodeLifetime: time.Minute})
		late, inTime := newCode(t, s), newCode(t, s)
		time.Sleep(time.Minute - 1)
		wantStatus(t, "just in time", redeem(t, s, inTime), http.StatusOK)
		time.Sleep(time.Nanosecond)
		wantError(t, "too late", redeem(t, s, late), http.StatusBadRequest, "invalid_grant")
		newCode(t, s)
		newCode(t, s)
		time.Sleep(time.Hour)
		newCode(t, s)
		if got := s.Ledger().Codes; got != 1 {
			t.Errorf("open codes = %d, want 1: the expired ones are dropped", got)
		}
	})
}
