package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

const secret = "dev-secret"

// definition of a provider at a base URL.
func definition(base string, change func(*provider.Definition)) *provider.Definition {
	d := provider.Definition{
		Name: "acme", Issuer: base, AuthURL: base + "/authorize", TokenURL: base + "/token", RevokeURL: base + "/revoke",
		ClientID: "dev", ClientSecrets: []seal.Secret{seal.NewSecret(secret)}, AuthStyle: provider.AuthBasic,
	}
	if change != nil {
		change(&d)
	}
	d = d.WithDefaults()
	return &d
}

// run probes and returns the checks as lines "name result: found". No line may hold the secret.
func run(t *testing.T, d *provider.Definition) string {
	t.Helper()
	p := probe.New()
	defer p.Close()
	checks, err := p.Probe(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range checks {
		if (c.Result == probe.OK) != (c.Advice == "") {
			t.Errorf("%s %s: advice %q", c.Name, c.Result, c.Advice)
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", c.Name, c.Result, c.Found))
	}
	text := strings.Join(lines, "\n")
	if strings.Contains(text, secret) || strings.Contains(text, "freshet-probe") {
		t.Errorf("shows what was sent:\n%s", text)
	}
	return text
}

// want compares by parts: each must begin a line.
func want(t *testing.T, got string, parts ...string) {
	t.Helper()
	lines := strings.Split(got, "\n")
	if len(lines) != len(parts) {
		t.Errorf("%d checks, want %d:\n%s", len(lines), len(parts), got)
		return
	}
	for i, part := range parts {
		if !strings.HasPrefix(lines[i], part) {
			t.Errorf("got  %s\nwant %s…", lines[i], part)
		}
	}
}

func TestProbeOfAProviderThatFits(t *testing.T) {
	t.Parallel()
	s := authserver.New(authserver.Config{})
	srv := httptest.NewServer(s)
	defer srv.Close()
	want(t, run(t, definition(srv.URL, nil)),
		"auth_url ok: 127.0.0.1", "token_url ok: 127.0.0.1", "device_url ok", "revoke_url ok: 127.0.0.1", "introspect_url ok",
		"issuer ok: it publishes metadata",
		"client secret ok: an invented refresh token was refused, not the client: HTTP 400, invalid_grant")
}

func TestProbeFindsWhatIsLeftToTheIssuer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(authserver.New(authserver.Config{}))
	defer srv.Close()
	d := definition(srv.URL, func(d *provider.Definition) { d.AuthURL, d.TokenURL, d.RevokeURL = "", "", "" })
	want(t, run(t, d), "auth_url ok", "token_url ok", "device_url ok", "revoke_url ok", "introspect_url ok", "issuer ok", "client secret ok")
}

func TestProbeGoesNowhereElseThanWorkers(t *testing.T) {
	t.Parallel()
	d := definition("https://169.254.169.254", func(d *provider.Definition) { d.AuthURL = "http://login.example.com/" })
	got := run(t, d)
	want(t, got, "auth_url fail: login.example.com: ", "token_url fail: 169.254.169.254: ", "revoke_url fail", "issuer warn", "client secret fail")
	if strings.Count(got, "where no provider can be") != 5 || !strings.Contains(got, "must be https") {
		t.Error(got)
	}
}

func TestProbeSaysWhichSecretIsRefused(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(authserver.New(authserver.Config{}))
	defer srv.Close()
	d := definition(srv.URL, func(d *provider.Definition) {
		d.Issuer, d.AuthURL, d.RevokeURL = "", "", ""
		d.ClientSecrets = append(d.ClientSecrets, seal.NewSecret("yesterday"))
	})
	want(t, run(t, d), "token_url ok", "client secret 1 ok", "client secret 2 fail: the client was refused: HTTP 401, invalid_client")
}

func TestProbeOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	gone := srv.URL
	srv.Close()
	want(t, run(t, definition(gone, nil)),
		"auth_url fail: 127.0.0.1", "token_url fail", "revoke_url fail", "issuer warn: ask the issuer for its metadata: ",
		"client secret fail: no answer to a token request: connection refused")
}

func TestProbeOfACertificateThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	got := run(t, definition(srv.URL, func(d *provider.Definition) { d.Issuer, d.RevokeURL = "", "" }))
	want(t, got, "auth_url fail: 127.0.0.1", "token_url fail", "client secret fail")
	if !strings.Contains(got, "certificate") {
		t.Error(got)
	}
}

// answers is a provider that answers with fixed texts by path; its address is in them as BASE.
func answers(t *testing.T, status int, texts map[string]any) string {
	t.Helper()
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := texts[r.Method+" "+r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(status)
		}
		data, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, strings.ReplaceAll(string(data), "BASE", srv.URL))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestProbeReadsTheAnswerAsAWorkerDoes(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	for _, c := range []struct {
		name   string
		status int
		body   object
		change func(*provider.Definition)
		want   string
	}{
		{"unknown word", 400, object{"error": "token_is_odd"}, nil, "client secret warn: an invented refresh token was refused in a word that the definition does not know: HTTP 400, token_is_odd"},
		{"known word", 400, object{"error": "token_is_odd"}, func(d *provider.Definition) { d.Words.Rejected = []string{"token_is_odd"} }, "client secret ok"},
		{"throttled", 429, object{}, nil, "client secret warn: the provider asks to come again"},
		{"token", 200, object{"access_token": "a", "token_type": "Bearer"}, nil, "client secret warn: an invented refresh token brought a token"},
		{"unreadable", 200, object{}, nil, "client secret warn: the answer to a token request cannot be read"},
		{"machine", 200, object{"access_token": "a", "token_type": "Bearer"}, func(d *provider.Definition) { d.Grant = provider.GrantClientCredentials }, "client secret ok: the client has a token"},
		{"public", 400, object{"error": "invalid_grant"}, func(d *provider.Definition) { d.ClientSecrets, d.AuthStyle = nil, provider.AuthNone }, "client ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			base := answers(t, c.status, object{"POST /token": c.body})
			d := definition(base, func(d *provider.Definition) {
				d.Issuer, d.RevokeURL = "", ""
				if c.change != nil {
					c.change(d)
				}
			})
			want(t, run(t, d), "auth_url warn: 127.0.0.1", "token_url ok", c.want)
		})
	}
}

func TestProbeComparesTheMetadata(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	good := object{"issuer": "BASE", "token_endpoint": "BASE/token", "token_endpoint_auth_methods_supported": []string{"client_secret_basic"}}
	with := func(key string, value any) object {
		m := maps.Clone(good)
		m[key] = value
		return m
	}
	for _, c := range []struct {
		name  string
		paths object
		want  []string
	}{
		{"OpenID Connect", object{"GET /.well-known/openid-configuration": good}, []string{"issuer ok"}},
		{"none", object{"GET /.well-known/openid-configuration": "text"}, []string{"issuer warn: the issuer publishes no metadata"}},
		{"another's", object{"GET /.well-known/oauth-authorization-server": with("issuer", "https://else\x1b.example")}, []string{`issuer fail: the metadata is not this issuer's: it names "https://else\x1b.example"`}},
		{"another endpoint", object{"GET /.well-known/oauth-authorization-server": with("token_endpoint", "BASE/v2")}, []string{"issuer ok", `issuer warn: the metadata has token_url "BASE/v2"`}},
		{"another style", object{"GET /.well-known/oauth-authorization-server": with("token_endpoint_auth_methods_supported", []string{"none"})}, []string{"issuer ok", "issuer warn: the issuer does not name client_secret_basic"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			paths := maps.Clone(c.paths)
			paths["POST /token"] = object{"error": "invalid_grant"}
			base := answers(t, 400, paths)
			parts := []string{"token_url ok"}
			for _, w := range c.want {
				parts = append(parts, strings.ReplaceAll(w, "BASE", base))
			}
			want(t, run(t, definition(base, func(d *provider.Definition) { d.AuthURL, d.RevokeURL = "", "" })), append(parts, "client secret ok")...)
		})
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := probe.New().Probe(ctx, definition("http://127.0.0.1:1", nil)); err == nil {
		t.Error("no error")
	}
}
