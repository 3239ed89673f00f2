package refresh_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// keyPair is a private key as a definition has it, and its public half.
type keyPair struct {
	private seal.Secret
	public  crypto.PublicKey
}

func newKeyPair(tb testing.TB, alg string) keyPair {
	tb.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return keyPair{seal.NewSecret(string(text)), key.Public()}
}

// signingServer is an authorization server with one client, robot, of that key, and what was posted to it.
type signingServer struct {
	*authserver.Server
	url   string
	mu    sync.Mutex
	forms []map[string]string
}

func newSigningServer(t *testing.T, change func(*authserver.Client), keys ...crypto.PublicKey) *signingServer {
	t.Helper()
	c := authserver.Client{ID: "robot", Keys: keys, Scopes: []string{"a", "b"}}
	if change != nil {
		change(&c)
	}
	s := &signingServer{Server: authserver.New(authserver.Config{Clients: []authserver.Client{c}, IntrospectRefresh: true})}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.note(string(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// definition is the client robot at the server, proving itself with the key.
func (s *signingServer) definition(k keyPair) *provider.Definition {
	d := provider.Definition{
		Name: "acme", Issuer: s.url, TokenURL: s.url + "/token", RevokeURL: s.url + "/revoke", IntrospectURL: s.url + "/introspect",
		ClientID: "robot", AuthStyle: provider.AuthPrivateKeyJWT, ClientSecrets: []seal.Secret{k.private},
	}.WithDefaults()
	return &d
}

func (s *signingServer) present(t *testing.T, d *provider.Definition, change func(*refresh.Request)) refresh.Judgement {
	t.Helper()
	r := refresh.Request{Provider: d, Deadline: time.Now().Add(time.Minute)}
	if len(d.ClientSecrets) > 0 {
		r.ClientSecret = d.ClientSecrets[0]
	}
	change(&r)
	return refresh.Classify(d, newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), r))
}

// claims reads an assertion without looking at its signature, which the server does.
func claims(t *testing.T, text string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(text, ".")
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(raw, into) != nil {
			t.Fatalf("part %d of %q cannot be read", i, text)
		}
	}
	return header, claims
}

func TestPrivateKeyProvesTheClient(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			k := newKeyPair(t, alg)
			s := newSigningServer(t, nil, k.public)
			d := s.definition(k)
			d.ClientAssertion.KeyID = "k1"
			tokens, err := s.Issue("alice", "")
			if err != nil {
				t.Fatal(err)
			}
			token := seal.NewSecret(tokens.RefreshToken)
			ids := make(map[any]bool)
			for range 3 {
				j := s.present(t, d, func(r *refresh.Request) { r.RefreshToken = token })
				if j.Class != refresh.ClassOK {
					t.Fatalf("%s: %s", j.Class, j.Detail)
				}
				token = j.Reply.RefreshToken
				header, claims := claims(t, s.last()["client_assertion"])
				ids[claims["jti"]] = true
				if header["alg"] != alg || header["kid"] != "k1" {
					t.Errorf("header %v", header)
				}
				life := claims["exp"].(float64) - claims["iat"].(float64)
				if claims["aud"] != s.url || claims["iss"] != "robot" || claims["sub"] != "robot" || life != 120 {
					t.Errorf("claims %v", claims)
				}
			}
			if len(ids) != 3 {
				t.Errorf("%d ids for 3 attempts", len(ids))
			}
			asker := refresh.NewAsker(nil)
			defer asker.CloseIdle()
			if active, err := asker.Active(t.Context(), d, k.private, token); err != nil || !active {
				t.Errorf("introspection: active %v, %v", active, err)
			}
			if err := asker.Revoke(t.Context(), d, k.private, token); err != nil {
				t.Errorf("revocation: %v", err)
			}
			if l := s.Ledger(); l.Withdrawn != 1 || l.Rotations != 3 {
				t.Errorf("withdrawn %d, rotations %d", l.Withdrawn, l.Rotations)
			}
		})
	}
}

func TestAssertionsAreDatedInNATSTime(t *testing.T) {
	t.Parallel()
	k := newKeyPair(t, "ES256")
	s := newSigningServer(t, nil, k.public)
	d := s.definition(k)
	ahead := func() time.Time { return time.Now().Add(time.Hour) }
	asker := refresh.NewAsker(nil)
	defer asker.CloseIdle()
	asker.Now = ahead
	for name, ask := range map[string]func(){
		"code": func() {
			newTestExchange(t, refresh.HTTPExchangeConfig{Now: ahead}).Redeem(t.Context(), d, k.private, url.Values{"grant_type": {"authorization_code"}})
		},
		"introspection": func() { _, _ = asker.Active(t.Context(), d, k.private, seal.NewSecret("rt")) },
		"revocation":    func() { _ = asker.Revoke(t.Context(), d, k.private, seal.NewSecret("rt")) },
	} {
		ask()
		_, claims := claims(t, s.last()["client_assertion"])
		if issued := time.Unix(int64(claims["iat"].(float64)), 0); time.Until(issued) < 30*time.Minute {
			t.Errorf("%s: issued at %s", name, issued)
		}
	}
}

func TestAssertionsForSomebodyElseAreRefused(t *testing.T) {
	t.Parallel()
	k, other := newKeyPair(t, "ES256"), newKeyPair(t, "ES256")
	for name, tt := range map[string]struct {
		server func(*authserver.Client)
		change func(*provider.Definition)
		want   refresh.Class
	}{
		"its own issuer":                     {want: refresh.ClassOK},
		"another key":                        {change: func(d *provider.Definition) { d.ClientSecrets = []seal.Secret{other.private} }, want: refresh.ClassMisconfigured},
		"another issuer":                     {change: func(d *provider.Definition) { d.Issuer = "https://evil.example" }, want: refresh.ClassMisconfigured},
		"the token endpoint, and not wanted": {change: func(d *provider.Definition) { d.ClientAssertion.Audience = provider.AudienceTokenURL }, want: refresh.ClassMisconfigured},
		"the token endpoint, and wanted": {
			server: func(c *authserver.Client) { c.TokenAudience = true },
			change: func(d *provider.Definition) { d.ClientAssertion.Audience = provider.AudienceTokenURL }, want: refresh.ClassOK,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSigningServer(t, tt.server, k.public)
			d := s.definition(k)
			if tt.change != nil {
				tt.change(d)
			}
			tokens, err := s.Issue("alice", "")
			if err != nil {
				t.Fatal(err)
			}
			j := s.present(t, d, func(r *refresh.Request) { r.RefreshToken = seal.NewSecret(tokens.RefreshToken) })
			if j.Class != tt.want {
				t.Errorf("%s (%s), want %s", j.Class, j.Detail, tt.want)
			}
		})
	}
}

func TestTokensAreMintedWithoutARefreshToken(t *testing.T) {
	t.Parallel()
	k := newKeyPair(t, "EdDSA")
	const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	for name, tt := range map[string]struct {
		server func(*authserver.Client)
		change func(*provider.Definition)
		form   map[string]string // but for assertions
		claims map[string]any    // of the grant's assertion
	}{
		"client credentials": {
			change: func(d *provider.Definition) { d.Grant, d.Scopes = provider.GrantClientCredentials, []string{"a"} },
			form: map[string]string{
				"grant_type": "client_credentials", "scope": "a", "client_id": "robot",
				"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			},
		},
		"JWT bearer of a client that proves itself": {
			change: func(d *provider.Definition) {
				d.Grant, d.AssertionKey, d.Scopes = provider.GrantJWTBearer, k.private, []string{"a", "b"}
			},
			form: map[string]string{
				"grant_type": grantType, "scope": "a b", "client_id": "robot",
				"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			},
			claims: map[string]any{"iss": "robot", "sub": "alice"},
		},
		"JWT bearer alone, with all there is": {
			server: func(c *authserver.Client) {
				c.Auth, c.TokenAudience = []authserver.AuthMethod{authserver.AuthNone}, true
			},
			change: func(d *provider.Definition) {
				d.Grant, d.AssertionKey, d.AuthStyle, d.ClientSecrets, d.ClientID = provider.GrantJWTBearer, k.private, provider.AuthNone, nil, ""
				d.Assertion = provider.GrantAssertion{
					Assertion: provider.Assertion{Audience: provider.AudienceTokenURL}, Issuer: "robot", ScopeClaim: true,
					Claims: map[string]string{"box_sub_type": "user", "sub": "root"},
				}
				d.Scopes = []string{"b"}
				d.TokenRequest = provider.TokenRequest{
					Resources: []string{"https://api.example"}, Audience: "api", TokenParams: map[string]string{"tenant": "42", "assertion": "mine"},
				}
			},
			form:   map[string]string{"grant_type": grantType, "resource": "https://api.example", "audience": "api", "tenant": "42"},
			claims: map[string]any{"iss": "robot", "sub": "alice", "scope": "b", "box_sub_type": "user"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSigningServer(t, tt.server, k.public)
			d := s.definition(k)
			tt.change(d)
			for range 2 { // a second time it is another assertion
				j := s.present(t, d, func(r *refresh.Request) { r.Subject, r.RefreshToken = "alice", seal.NewSecret("not this") })
				if j.Class != refresh.ClassOK || !j.Reply.RefreshToken.IsZero() {
					t.Fatalf("%s (%s), refresh token: %v", j.Class, j.Detail, !j.Reply.RefreshToken.IsZero())
				}
			}
			form := s.last()
			if tt.claims != nil {
				_, got := claims(t, form["assertion"])
				for _, name := range []string{"aud", "exp", "iat", "jti"} {
					if got[name] == nil {
						t.Errorf("no claim %s", name)
					}
					delete(got, name)
				}
				if !maps.Equal(got, tt.claims) {
					t.Errorf("claims %v, want %v", got, tt.claims)
				}
			}
			delete(form, "assertion")
			delete(form, "client_assertion")
			if !maps.Equal(form, tt.form) {
				t.Errorf("form %v, want %v", form, tt.form)
			}
		})
	}
}

func TestCheckKeysNamesEachThatCannotSign(t *testing.T) {
	t.Parallel()
	good, bad := newKeyPair(t, "ES256").private, seal.NewSecret("hunter2")
	d := provider.Definition{
		Name: "acme", AuthStyle: provider.AuthPrivateKeyJWT, ClientSecrets: []seal.Secret{good, bad}, Grant: provider.GrantJWTBearer, AssertionKey: bad,
	}
	err := refresh.CheckKeys(&d)
	if err == nil || strings.Count(err.Error(), "\n") != 1 || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("error %v, want one for client_key and one for assertion_key", err)
	}
	d.ClientSecrets, d.AssertionKey = d.ClientSecrets[:1], good
	if err := refresh.CheckKeys(&d); err != nil {
		t.Error(err)
	}
}

func (s *signingServer) note(body string) {
	values, _ := url.ParseQuery(body)
	form := make(map[string]string)
	for name := range values {
		form[name] = values.Get(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forms = append(s.forms, form)
}

// last is the form that was posted last.
func (s *signingServer) last() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forms[len(s.forms)-1]
}
