package discovery_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/discovery"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// find asks an issuer with this path, whose server has these documents. %s in a document is the server's address.
func find(t *testing.T, path string, documents map[string]string) (discovery.Metadata, []string, error) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		text, ok := documents[r.URL.Path]
		switch {
		case !ok:
			http.NotFound(w, r)
		case text == "500":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			fmt.Fprint(w, strings.ReplaceAll(text, "%s", srv.URL))
		}
	}))
	t.Cleanup(srv.Close)
	ask := refresh.NewAsker(nil)
	t.Cleanup(ask.CloseIdle)
	m, err := discovery.Find(t.Context(), ask, &provider.Definition{Name: "acme", Issuer: srv.URL + path})
	m.Issuer = strings.ReplaceAll(m.Issuer, srv.URL, "%s")
	m.TokenURL = strings.ReplaceAll(m.TokenURL, srv.URL, "%s")
	return m, asked, err
}

const (
	rfc8414 = "/.well-known/oauth-authorization-server"
	oidc    = "/.well-known/openid-configuration"
)

func TestFindLooksWhereTheDocumentsAre(t *testing.T) {
	t.Parallel()
	document := func(issuer string) string { return `{"issuer":"%s` + issuer + `","token_endpoint":"%s/token"}` }
	for name, tt := range map[string]struct {
		path      string
		documents map[string]string
		asked     int
		err       error
		text      string
	}{
		"RFC 8414":                   {"", map[string]string{rfc8414: document("")}, 1, nil, ""},
		"OpenID Connect":             {"", map[string]string{oidc: document("")}, 2, nil, ""},
		"RFC 8414 with a path":       {"/t/7", map[string]string{rfc8414 + "/t/7": document("/t/7")}, 1, nil, ""},
		"OpenID Connect with a path": {"/t/7", map[string]string{"/t/7" + oidc: document("/t/7")}, 2, nil, ""},
		"OpenID Connect, inserted":   {"/t/7", map[string]string{oidc + "/t/7": document("/t/7")}, 3, nil, ""},
		"a slash at the end":         {"/t/7/", map[string]string{rfc8414 + "/t/7": document("/t/7/")}, 1, nil, ""},
		"a page for every address":   {"", map[string]string{rfc8414: "<html>", oidc: document("")}, 2, nil, ""},
		"trouble at the first place": {"", map[string]string{rfc8414: "500", oidc: document("")}, 2, nil, ""},
		"nowhere":                    {"/t/7", nil, 3, discovery.ErrNone, ""},
		"trouble":                    {"", map[string]string{rfc8414: "500"}, 2, nil, "HTTP 500"},
		"another issuer":             {"", map[string]string{rfc8414: `{"issuer":"https://evil.example","token_endpoint":"https://evil.example/t"}`}, 1, discovery.ErrMismatch, ""},
		"a slash too many":           {"", map[string]string{rfc8414: document("/")}, 1, discovery.ErrMismatch, ""},
		"a slash too few":            {"/t/", map[string]string{rfc8414 + "/t": document("/t")}, 1, discovery.ErrMismatch, ""},
		"too large":                  {"", map[string]string{rfc8414: strings.Repeat(" ", refresh.MaxReply) + document("")}, 2, nil, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, asked, err := find(t, tt.path, tt.documents)
			if len(asked) != tt.asked {
				t.Errorf("asked at %v, want %d places", asked, tt.asked)
			}
			switch {
			case tt.err != nil:
				if !errors.Is(err, tt.err) {
					t.Errorf("error %v, want %v", err, tt.err)
				}
			case tt.text != "":
				if err == nil || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %v, want %q in it", err, tt.text)
				}
			case err != nil || m.TokenURL != "%s/token" || m.Issuer != "%s"+tt.path:
				t.Errorf("found %+v, %v", m, err)
			}
		})
	}
}

func TestFillKeepsWhatIsGiven(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(authserver.New(authserver.Config{}))
	t.Cleanup(srv.Close)
	ask := refresh.NewAsker(nil)
	t.Cleanup(ask.CloseIdle)
	given := provider.Definition{Name: "acme", Issuer: srv.URL, RevokeURL: "https://example.com/revoke", AuthStyle: provider.AuthBasic, Scopes: []string{"a"}}
	m, err := discovery.Find(t.Context(), ask, &given)
	if err != nil {
		t.Fatal(err)
	}
	got := m.Fill(given)
	want := given
	want.AuthURL, want.TokenURL, want.IntrospectURL, want.IssInAnswer = srv.URL+"/authorize", srv.URL+"/token", srv.URL+"/introspect", true
	want.DeviceURL = srv.URL + "/device_authorization"
	want.Discovered = []string{"auth_url", "token_url", "device_url", "introspect_url", "authorization_response_iss_parameter_supported"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if again := discovery.Of(got).Fill(given); !reflect.DeepEqual(again, want) {
		t.Errorf("from an earlier discovery: %+v", again)
	}
	if given.TokenURL != "" {
		t.Error("Fill changed what it was given")
	}
	if doubts := m.Doubts(&got); len(doubts) != 0 {
		t.Errorf("doubts %v", doubts)
	}
}

func TestUserinfoIsForOpenIDOnly(t *testing.T) {
	t.Parallel()
	m := discovery.Metadata{UserinfoURL: "https://login.example.com/me"}
	for scope, want := range map[string]string{"openid": m.UserinfoURL, "read": ""} {
		got := m.Fill(provider.Definition{Scopes: []string{"a", scope}})
		if got.UserinfoURL != want || slices.Contains(got.Discovered, "userinfo_url") != (want != "") {
			t.Errorf("with scope %s: %q, discovered %q", scope, got.UserinfoURL, got.Discovered)
		}
		if again := discovery.Of(got).Fill(provider.Definition{Scopes: []string{"a", scope}}); again.UserinfoURL != want {
			t.Errorf("from an earlier discovery, with scope %s: %q", scope, again.UserinfoURL)
		}
	}
}

func TestDoubtsAreSaid(t *testing.T) {
	t.Parallel()
	m := discovery.Metadata{Scopes: []string{"a"}, AuthMethods: []string{"private_key_jwt"}}
	doubts := m.Doubts(&provider.Definition{AuthStyle: provider.AuthPost, Scopes: []string{"a", "b"}})
	if len(doubts) != 2 || !strings.Contains(doubts[0], "client_secret_post") || !strings.Contains(doubts[1], "scope b") {
		t.Errorf("doubts %q", doubts)
	}
}

func TestAnIssuerElsewhereNamesNothingHere(t *testing.T) {
	t.Parallel()
	const issuer = "https://login.example.com"
	for _, address := range []string{"https://localhost:8443/t", "http://127.0.0.1/t", "https://[::1]/t"} {
		m := discovery.Metadata{Issuer: issuer, TokenURL: issuer + "/token", RevokeURL: address}
		if err := discovery.Check(m, issuer); !errors.Is(err, discovery.ErrMismatch) || !strings.Contains(err.Error(), "revoke_url") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
