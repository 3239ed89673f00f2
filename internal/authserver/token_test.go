package authserver_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

func TestRefreshAnswersAsTheRFCSays(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{AccessLifetime: 90 * time.Second})
	tokens, err := s.Issue("alice", "dev", "b", "a")
	if err != nil {
		t.Fatal(err)
	}
	r := refresh(t, s, tokens.RefreshToken)
	wantStatus(t, "refresh", r, http.StatusOK)
	if r.str("token_type") != "Bearer" || r.str("scope") != "a b" || r.num("expires_in") != 90 {
		t.Errorf("body %v", r.body)
	}
	if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Pragma") != "no-cache" {
		t.Errorf("headers %v: want no-store", r.header)
	}
	if r.str("refresh_token") == tokens.RefreshToken || r.str("access_token") == tokens.AccessToken {
		t.Error("a token was not replaced")
	}
}

func TestResponseFieldsAreConfigurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{
			OmitExpiresIn: true, RefreshExpiresIn: true,
			IdleLifetime: time.Hour, GrantLifetime: 90 * time.Minute,
		})
		first := issue(t, s, "alice")
		time.Sleep(10 * time.Minute)
		r := refresh(t, s, first.RefreshToken)
		if _, has := r.body["expires_in"]; has || r.num("refresh_token_expires_in") != 3600 {
			t.Errorf("body %v: want no expires_in, and an hour for the refresh token", r.body)
		}
		time.Sleep(40 * time.Minute)
		if r = refresh(t, s, r.str("refresh_token")); r.num("refresh_token_expires_in") != 2400 {
			t.Errorf("refresh_token_expires_in %v, want the 40 min left of the grant", r.body["refresh_token_expires_in"])
		}
	})
}

func TestLifetimeHookStaggersAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{Lifetime: func(account string, n int) time.Duration {
			if account == "alice" && n == 1 {
				return time.Minute
			}
			return 0
		}})
		alice, bob := issue(t, s, "alice"), issue(t, s, "bob")
		if d := time.Until(alice.ExpiresAt); d != time.Minute {
			t.Errorf("alice's first token lives %v, want 1m", d)
		}
		if d := time.Until(bob.ExpiresAt); d != time.Hour {
			t.Errorf("bob's first token lives %v, want 1h", d)
		}
		if got := refresh(t, s, alice.RefreshToken).num("expires_in"); got != 3600 {
			t.Errorf("alice's second token lives %v s, want 3600", got)
		}
	})
}

func TestMalformedTokenRequests(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	good := issue(t, s, "alice").RefreshToken
	body := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {good}}.Encode()
	for name, tc := range map[string]struct {
		change func(r *http.Request)
		body   string
		status int
		code   string
	}{
		"GET":                 {func(r *http.Request) { r.Method = http.MethodGet }, body, 405, "invalid_request"},
		"JSON":                {func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, `{}`, 400, "invalid_request"},
		"no content type":     {func(r *http.Request) { r.Header.Del("Content-Type") }, body, 400, "invalid_request"},
		"parameters in URL":   {func(r *http.Request) { r.URL.RawQuery = "client_id=dev" }, body, 400, "invalid_request"},
		"body too large":      {nil, body + "&x=" + strings.Repeat("x", 64<<10), 400, "invalid_request"},
		"chunked, too large":  {func(r *http.Request) { r.ContentLength = -1 }, body + "&x=" + strings.Repeat("x", 64<<10), 400, "invalid_request"},
		"body cut short":      {func(r *http.Request) { r.ContentLength++ }, body, 400, "invalid_request"},
		"repeated parameter":  {nil, body + "&refresh_token=again", 400, "invalid_request"},
		"broken escape":       {nil, body + "&scope=%zz", 400, "invalid_request"},
		"no grant type":       {nil, "refresh_token=" + good, 400, "invalid_request"},
		"unknown grant type":  {nil, "grant_type=password", 400, "unsupported_grant_type"},
		"no refresh token":    {nil, "grant_type=refresh_token", 400, "invalid_request"},
		"empty refresh token": {nil, "grant_type=refresh_token&refresh_token=", 400, "invalid_request"},
		"made-up token":       {nil, "grant_type=refresh_token&refresh_token=made-up", 400, "invalid_grant"},
	} {
		req := formRequest("/token")
		req.SetBasicAuth("dev", "dev-secret")
		withBody(req, tc.body)
		if tc.change != nil {
			tc.change(req)
		}
		r := call(t, s, req)
		wantError(t, name, r, tc.status, tc.code)
		if r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the error may be cached", name)
		}
	}
	wantStatus(t, "the token, after all that", refresh(t, s, good), http.StatusOK)
}

func TestHarmlessOdditiesAreAccepted(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	for name, tc := range map[string]struct{ contentType, extra string }{
		"charset":                     {"application/x-www-form-urlencoded; charset=utf-8", ""},
		"unknown parameters":          {"application/x-www-form-urlencoded", "&audience=x&audience=y"},
		"parameters without a value":  {"application/x-www-form-urlencoded", "&scope=&scope="},
		"escapes in a parameter name": {"application/x-www-form-urlencoded", "&%73cope="},
	} {
		req := formRequest("/token")
		req.SetBasicAuth("dev", "dev-secret")
		withBody(req, "grant_type=refresh_token&refresh_token="+issue(t, s, "alice").RefreshToken+tc.extra)
		req.Header.Set("Content-Type", tc.contentType)
		wantStatus(t, name, call(t, s, req), http.StatusOK)
	}
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{
		{ID: "any", Secret: "s"},
		{ID: "basic", Secret: "s", Auth: []authserver.AuthMethod{authserver.AuthBasic}},
		{ID: "post", Secret: "s", Auth: []authserver.AuthMethod{authserver.AuthPost}},
		{ID: "public"},
		{ID: "odd id", Secret: "p:s%+é"},
	}})
	basic := func(id, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
	}
	for name, tc := range map[string]struct {
		owner string
		auth  func(*http.Request)
		form  []string
		want  string // empty: tokens
	}{
		"basic":                        {"basic", basic("basic", "s"), nil, ""},
		"basic, same id in the form":   {"any", basic("any", "s"), []string{"client_id", "any"}, ""},
		"post":                         {"post", nil, []string{"client_id", "post", "client_secret", "s"}, ""},
		"none":                         {"public", nil, []string{"client_id", "public"}, ""},
		"basic, escaped":               {"odd id", basic("odd id", "p:s%+é"), nil, ""},
		"post, escaped":                {"odd id", nil, []string{"client_id", "odd id", "client_secret", "p:s%+é"}, ""},
		"wrong secret":                 {"any", basic("any", "wrong"), nil, "invalid_client"},
		"wrong secret by post":         {"any", nil, []string{"client_id", "any", "client_secret", "wrong"}, "invalid_client"},
		"no secret":                    {"any", nil, []string{"client_id", "any"}, "invalid_client"},
		"nobody":                       {"any", basic("nobody", "s"), nil, "invalid_client"},
		"nothing at all":               {"any", nil, nil, "invalid_client"},
		"post where basic is wanted":   {"basic", nil, []string{"client_id", "basic", "client_secret", "s"}, "invalid_client"},
		"basic where post is wanted":   {"post", basic("post", "s"), nil, "invalid_client"},
		"a secret for a public client": {"public", basic("public", "s"), nil, "invalid_client"},
		"both ways":                    {"any", basic("any", "s"), []string{"client_secret", "s"}, "invalid_request"},
		"two ids":                      {"any", basic("any", "s"), []string{"client_id", "basic"}, "invalid_request"},
		"bearer":                       {"any", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, nil, "invalid_client"},
		"basic, broken escape":         {"any", func(r *http.Request) { r.SetBasicAuth("any", "%zz") }, nil, "invalid_client"},
	} {
		tokens, err := s.Issue("alice", tc.owner)
		if err != nil {
			t.Fatal(err)
		}
		req := formRequest("/token", append([]string{"grant_type", "refresh_token", "refresh_token", tokens.RefreshToken}, tc.form...)...)
		if tc.auth != nil {
			tc.auth(req)
		}
		r := call(t, s, req)
		if r.str("error") != tc.want || (tc.want == "") != (r.status == http.StatusOK) {
			t.Errorf("%s: %d %q, want %q", name, r.status, r.str("error"), tc.want)
		}
		if tc.want == "invalid_client" && (r.status != 401 || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Basic ")) {
			t.Errorf("%s: %d %q, want 401 with a Basic challenge", name, r.status, r.header.Get("WWW-Authenticate"))
		}
	}
}

func TestRefreshTokenIsBoundToItsClient(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{
		{ID: "dev", Secret: "dev-secret"}, {ID: "other", Secret: "s"},
	}})
	tokens, err := s.Issue("alice", "other")
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "another client", refresh(t, s, tokens.RefreshToken), http.StatusBadRequest, "invalid_grant")
	req := formRequest("/token", "grant_type", "refresh_token", "refresh_token", tokens.RefreshToken, "client_id", "other", "client_secret", "s")
	wantStatus(t, "its own client", call(t, s, req), http.StatusOK)
	if got := s.Ledger().Anomalies; len(got) != 1 || got[0].Kind != "wrong_client" {
		t.Errorf("anomalies %v, want one wrong_client", got)
	}
}

func TestScopeMayOnlyNarrow(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	tokens, err := s.Issue("alice", "", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	wider := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", tokens.RefreshToken, "scope", "a c")
	wantError(t, "wider", wider, http.StatusBadRequest, "invalid_scope")
	narrow := post(t, s, "/token", "grant_type", "refresh_token", "refresh_token", tokens.RefreshToken, "scope", "b")
	if narrow.str("scope") != "b" || use(t, s, narrow.str("access_token")).str("scope") != "b" {
		t.Errorf("narrowed to %v, want b", narrow.body)
	}
	again := refresh(t, s, narrow.str("refresh_token"))
	if again.str("scope") != "a b" {
		t.Errorf("scope after narrowing once %q, want all of the grant", again.str("scope"))
	}
	wantCount(t, "replayed", s.Ledger().Replayed, 0)
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{
		{ID: "dev", Secret: "dev-secret"}, {ID: "public"}, {ID: "fixed", Secret: "s", Scopes: []string{"a", "b"}},
	}})
	r := post(t, s, "/token", "grant_type", "client_credentials", "scope", "x")
	wantStatus(t, "client credentials", r, http.StatusOK)
	if r.str("refresh_token") != "" || r.str("scope") != "x" {
		t.Errorf("body %v: want scope x and no refresh token", r.body)
	}
	if got := use(t, s, r.str("access_token")); got.str("account") != "dev" || got.str("scope") != "x" {
		t.Errorf("resource says %v", got.body)
	}
	r = post(t, s, "/token", "grant_type", "client_credentials", "scope", "y x")
	if r.str("scope") != "x y" {
		t.Errorf("scope %q, want x y", r.str("scope"))
	}
	fixed := []string{"grant_type", "client_credentials", "client_id", "fixed", "client_secret", "s"}
	if got := call(t, s, formRequest("/token", fixed...)).str("scope"); got != "a b" {
		t.Errorf("scope %q, want the client's own", got)
	}
	wider := call(t, s, formRequest("/token", append(fixed, "scope", "c")...))
	wantError(t, "a foreign scope", wider, http.StatusBadRequest, "invalid_scope")
	public := call(t, s, formRequest("/token", "grant_type", "client_credentials", "client_id", "public"))
	wantError(t, "a public client", public, http.StatusBadRequest, "unauthorized_client")
	if got := s.Ledger().Grants; got != 0 {
		t.Errorf("grants = %d, want 0: nobody granted anything", got)
	}
}

func TestClientCredentialsScopesAreBounded(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	for i := range 32 {
		r := post(t, s, "/token", "grant_type", "client_credentials", "scope", strings.Repeat("s", i+1))
		wantStatus(t, "scope "+strings.Repeat("s", i+1), r, http.StatusOK)
	}
	r := post(t, s, "/token", "grant_type", "client_credentials", "scope", "one-more")
	wantError(t, "one scope too many", r, http.StatusBadRequest, "invalid_scope")
	all := post(t, s, "/token", "grant_type", "client_credentials", "scope", "s ss")
	if got := use(t, s, all.str("access_token")).str("scope"); got != "s ss" {
		t.Errorf("scope %q, want s ss", got)
	}
}

func TestGrantsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{IdleLifetime: time.Hour, GrantLifetime: 3 * time.Hour, AccessLifetime: 5 * time.Hour})
		idle, kept := issue(t, s, "idle"), issue(t, s, "kept").RefreshToken
		for range 3 {
			time.Sleep(59 * time.Minute)
			kept, _ = rotated(t, s, kept)
		}
		wantError(t, "idle for long", refresh(t, s, idle.RefreshToken), http.StatusBadRequest, "invalid_grant")
		wantStatus(t, "access token of an idle grant", use(t, s, idle.AccessToken), http.StatusUnauthorized)
		time.Sleep(3 * time.Minute)
		wantError(t, "too old", refresh(t, s, kept), http.StatusBadRequest, "invalid_grant")
		if a, b := s.Account("idle").Grants[0].Ended, s.Account("kept").Grants[0].Ended; a != authserver.EndIdle || b != authserver.EndAge {
			t.Errorf("ended %q and %q, want idle and age", a, b)
		}
		wantCount(t, "revoked", s.Ledger().Revoked, 0)
	})
}
