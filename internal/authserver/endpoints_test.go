package authserver_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
)

func get(t *testing.T, s *authserver.Server, path string) result {
	t.Helper()
	return call(t, s, httptest.NewRequest(http.MethodGet, path, nil))
}

func TestMetadataIsTheSameAtBothAddresses(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		r := get(t, s, path)
		wantStatus(t, path, r, http.StatusOK)
		if r.str("issuer") != "http://example.com" || r.body["authorization_response_iss_parameter_supported"] != true {
			t.Errorf("%s: %v", path, r.body)
		}
		for name, endpoint := range map[string]string{
			"authorization_endpoint": "/authorize", "token_endpoint": "/token",
			"introspection_endpoint": "/introspect", "revocation_endpoint": "/revoke",
		} {
			if got := r.str(name); got != "http://example.com"+endpoint {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		for name, want := range map[string]string{
			"token_endpoint_auth_methods_supported":         "[client_secret_basic client_secret_post private_key_jwt none]",
			"introspection_endpoint_auth_methods_supported": "[client_secret_basic client_secret_post private_key_jwt]",
			"code_challenge_methods_supported":              "[S256]",
		} {
			if got := fmt.Sprint(r.body[name]); got != want {
				t.Errorf("%s: %s is %s, want %s", path, name, got, want)
			}
		}
	}
	wantStatus(t, "another well-known address", get(t, s, "/.well-known/webfinger"), http.StatusNotFound)
	wantStatus(t, "an unknown address", get(t, s, "/elsewhere"), http.StatusNotFound)
	req := httptest.NewRequest(http.MethodPost, "/.well-known/openid-configuration", nil)
	wantStatus(t, "POST", call(t, s, req), http.StatusMethodNotAllowed)
}

func TestIssuerFollowsTheScheme(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	req := httptest.NewRequest(http.MethodGet, "https://as.example/.well-known/openid-configuration", nil)
	if got := call(t, s, req).str("issuer"); got != "https://as.example" {
		t.Errorf("issuer %q", got)
	}
}

func TestResourceRefusesBadTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := authserver.New(authserver.Config{AccessLifetime: time.Minute})
		tokens := issue(t, s, "alice")
		wantStatus(t, "fresh", use(t, s, tokens.AccessToken), http.StatusOK)
		time.Sleep(time.Minute - 1)
		if r := use(t, s, tokens.AccessToken); r.str("account") != "alice" || r.num("version") != 1 || r.str("client_id") != "dev" {
			t.Errorf("resource says %v", r.body)
		}
		for name, token := range map[string]string{"a refresh token": tokens.RefreshToken, "made up": "x", "empty": "", "a code": newCode(t, s)} {
			r := use(t, s, token)
			wantError(t, name, r, http.StatusUnauthorized, "invalid_token")
			if got := r.header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
				t.Errorf("%s: challenge %q", name, got)
			}
		}
		time.Sleep(time.Nanosecond)
		wantError(t, "expired", use(t, s, tokens.AccessToken), http.StatusUnauthorized, "invalid_token")

		none := get(t, s, "/resource?access_token="+tokens.AccessToken)
		if got := none.header.Get("WWW-Authenticate"); none.status != 401 || got != `Bearer realm="authserver"` {
			t.Errorf("no token: %d %q, want a challenge without an error", none.status, got)
		}
	})
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	clients := []authserver.Client{{ID: "dev", Secret: "dev-secret"}, {ID: "other", Secret: "s"}, {ID: "public"}}
	for _, refreshToo := range []bool{false, true} {
		s := authserver.New(authserver.Config{Clients: clients, IntrospectRefresh: refreshToo, GrantLifetime: 24 * time.Hour})
		first := issue(t, s, "alice")
		next, access := rotated(t, s, first.RefreshToken)
		other, err := s.Issue("alice", "other")
		if err != nil {
			t.Fatal(err)
		}
		active := func(token string) bool {
			r := post(t, s, "/introspect", "token", token)
			wantStatus(t, "introspect", r, http.StatusOK)
			if r.body["active"] == false && len(r.body) != 1 {
				t.Errorf("a token that is not active has more to say: %v", r.body)
			}
			return r.body["active"] == true
		}
		for _, tc := range []struct {
			name, token string
			want        bool
		}{
			{"access token", access, true},
			{"access token of another client", other.AccessToken, true},
			{"current refresh token", next, refreshToo},
			{"spent refresh token", first.RefreshToken, false},
			{"refresh token of another client", other.RefreshToken, false},
			{"made up", "x", false},
		} {
			if got := active(tc.token); got != tc.want {
				t.Errorf("%s, refresh tokens %v: active %v, want %v", tc.name, refreshToo, got, tc.want)
			}
		}
		wantStatus(t, "refresh after introspection", refresh(t, s, next), http.StatusOK)
		s.Revoke("alice")
		if active(access) || active(next) {
			t.Error("a token of a withdrawn grant is active")
		}
		wantCount(t, "replayed", s.Ledger().Replayed, 0)
	}
}

func TestIntrospectionTellsWhoseTokenItIs(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{IntrospectRefresh: true, IdleLifetime: time.Hour})
	tokens, err := s.Issue("alice", "", "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	r := post(t, s, "/introspect", "token", tokens.AccessToken)
	if r.str("sub") != "alice" || r.str("username") != "alice" || r.str("client_id") != "dev" || r.str("scope") != "a b" ||
		r.str("token_type") != "Bearer" || r.str("iss") != "http://example.com" || int64(r.num("exp")) != tokens.ExpiresAt.Unix() {
		t.Errorf("access token: %v", r.body)
	}
	r = post(t, s, "/introspect", "token", tokens.RefreshToken)
	if r.str("sub") != "alice" || r.str("scope") != "a b" || r.num("exp") == 0 {
		t.Errorf("refresh token: %v", r.body)
	}
}

func TestIntrospectionAndRevocationNeedAClient(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{{ID: "dev", Secret: "dev-secret"}, {ID: "public"}}})
	token := issue(t, s, "alice").AccessToken
	for _, path := range []string{"/introspect", "/revoke"} {
		wantError(t, path+" without client", call(t, s, formRequest(path, "token", token)), http.StatusUnauthorized, "invalid_client")
		wantError(t, path+" without token", post(t, s, path), http.StatusBadRequest, "invalid_request")
		wantStatus(t, path+" by GET", get(t, s, path), http.StatusMethodNotAllowed)
	}
	public := call(t, s, formRequest("/introspect", "token", token, "client_id", "public"))
	wantError(t, "introspect by a public client", public, http.StatusUnauthorized, "invalid_client")
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{{ID: "dev", Secret: "dev-secret"}, {ID: "public"}}})
	first := issue(t, s, "alice")
	next, access := rotated(t, s, first.RefreshToken)

	wantStatus(t, "an access token", post(t, s, "/revoke", "token", first.AccessToken), http.StatusOK)
	wantStatus(t, "it is dead", use(t, s, first.AccessToken), http.StatusUnauthorized)
	wantStatus(t, "the next one lives", use(t, s, access), http.StatusOK)

	wantStatus(t, "an unknown token", post(t, s, "/revoke", "token", "made-up"), http.StatusOK)
	foreign := call(t, s, formRequest("/revoke", "token", next, "client_id", "public"))
	wantError(t, "another client's token", foreign, http.StatusBadRequest, "unauthorized_client")

	wantStatus(t, "a spent refresh token", post(t, s, "/revoke", "token", first.RefreshToken, "token_type_hint", "refresh_token"), http.StatusOK)
	wantStatus(t, "again", post(t, s, "/revoke", "token", next), http.StatusOK)
	wantStatus(t, "access token of the grant", use(t, s, access), http.StatusUnauthorized)
	wantError(t, "refresh token of the grant", refresh(t, s, next), http.StatusBadRequest, "invalid_grant")
	l := s.Ledger()
	wantCount(t, "withdrawn", l.Withdrawn, 1)
	wantCount(t, "revoked", l.Revoked, 0)
	wantCount(t, "replayed", l.Replayed, 0)
}

func TestACodeIsNoToken(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Rotation: authserver.RotationOverlap, IntrospectRefresh: true})
	code := newCode(t, s)
	tokens := redeem(t, s, code)
	if r := post(t, s, "/introspect", "token", code); r.body["active"] != false {
		t.Errorf("introspection of a code: %v", r.body)
	}
	wantStatus(t, "revocation of a code", post(t, s, "/revoke", "token", code), http.StatusOK)
	wantStatus(t, "the grant it founded", refresh(t, s, tokens.str("refresh_token")), http.StatusOK)
}

func TestIssueChecksItsArguments(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{Clients: []authserver.Client{{ID: "a", Scopes: []string{"x"}}, {ID: "b"}}})
	if _, err := s.Issue("alice", "nobody"); !errors.Is(err, authserver.ErrUnknownClient) {
		t.Errorf("unknown client: %v", err)
	}
	if _, err := s.Issue("alice", "a", "y"); err == nil {
		t.Error("a foreign scope was accepted")
	}
	if _, err := s.Issue("alice", "b", make33()...); err == nil {
		t.Error("33 scopes were accepted")
	}
	tokens, err := s.Issue("alice", "")
	if err != nil || !slices.Equal(tokens.Scopes, []string{"x"}) {
		t.Errorf("first client: %v, %v", tokens.Scopes, err)
	}
	wantCount(t, "issued", s.Ledger().Issued, 1)
	for _, text := range []string{fmt.Sprint(tokens), fmt.Sprintf("%+v", tokens), fmt.Sprintf("%#v", tokens)} {
		if strings.Contains(text, tokens.AccessToken) || strings.Contains(text, tokens.RefreshToken) {
			t.Errorf("printing tokens gives them away: %s", text)
		}
	}
}

// make33 returns one scope more than a grant can hold.
func make33() []string {
	var scopes []string
	for i := range 33 {
		scopes = append(scopes, fmt.Sprint("s", i))
	}
	return scopes
}

func TestSeedFixesTheTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		make := func(seed uint64) (authserver.Tokens, string) {
			s := authserver.New(authserver.Config{Seed: seed})
			return issue(t, s, "alice"), newCode(t, s)
		}
		a, codeA := make(7)
		b, codeB := make(7)
		if a.RefreshToken != b.RefreshToken || a.AccessToken != b.AccessToken || codeA != codeB {
			t.Error("the same seed makes other tokens")
		}
		c, codeC := make(8)
		d, _ := make(0)
		e, _ := make(0)
		if a.RefreshToken == c.RefreshToken || codeA == codeC || d.RefreshToken == e.RefreshToken {
			t.Error("other seeds make the same tokens")
		}
	})
}

func TestConfigReportsAllFaults(t *testing.T) {
	t.Parallel()
	if err := (authserver.Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	bad := authserver.Config{
		Rotation: "sometimes", Issuer: "https://as.example/path", AccessLifetime: time.Millisecond, Latency: -1,
		Clients: []authserver.Client{
			{ID: "a", Secret: "s", Auth: []authserver.AuthMethod{"mtls"}},
			{ID: "a", Auth: []authserver.AuthMethod{authserver.AuthBasic}, RedirectURIs: []string{"/relative", "https://x/#f"}},
			{Scopes: []string{`quo"te`}},
		},
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`unknown Rotation "sometimes"`, `invalid Issuer "https://as.example/path"`, "AccessLifetime is 1ms", "Latency is -1ns",
		`client 1 ("a"): auth method "mtls"`, `client 2 ("a"): auth method "basic" needs a secret`, `redirect URI "/relative"`,
		`redirect URI "https://x/#f"`, `client 2: id "a" is taken`, "id is empty", "outside the allowed set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("New accepted it")
		}
	}()
	authserver.New(bad)
}

func FuzzForm(f *testing.F) {
	f.Add("scope=a+b&x=%20")
	f.Add("scope=&scope=a")
	f.Add("sc%6fpe=%zz")
	f.Fuzz(func(t *testing.T, text string) {
		scope, err := authserver.ParseForm(text)
		want, wantErr := url.ParseQuery(text)
		if err != nil || wantErr != nil {
			return
		}
		values := slices.DeleteFunc(want["scope"], func(v string) bool { return v == "" })
		if strings.Join(values, ",") != scope {
			t.Fatalf("%q: scope %q, net/url says %q", text, scope, values)
		}
	})
}

func FuzzTokenHasOneSpelling(f *testing.F) {
	s := authserver.New(authserver.Config{Seed: 1})
	tokens, err := s.Issue("alice", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tokens.RefreshToken)
	f.Add(tokens.AccessToken)
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if known, same := authserver.Opens(s, token); known && !same {
			t.Fatalf("%q is a second spelling of a token", token)
		}
	})
}

func TestChangedTokensAreUnknown(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	token := issue(t, s, "alice").RefreshToken
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if known, _ := authserver.Opens(s, string(changed)); known {
			t.Errorf("a change at %d goes unnoticed", i)
		}
	}
	if known, same := authserver.Opens(s, token); !known || !same {
		t.Error("the token itself is unknown")
	}
	if known, _ := authserver.Opens(authserver.New(authserver.Config{}), token); known {
		t.Error("another server knows the token")
	}
}
