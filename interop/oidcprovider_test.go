package interop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/freshetdev/freshet/interop/oidcprovider"
)

// clientSecret is that of every client that has one.
const clientSecret = "of-no-consequence-but-long-enough-for-everybody"

// oidcClients are what is registered at oidc-provider. Those called brief have tokens of 8 seconds, all others of an hour.
func oidcClients(jwks json.RawMessage) []oidcprovider.Client {
	grants := []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"}
	person := oidcprovider.Client{
		Secret: clientSecret, Application: "native", GrantTypes: grants, ResponseTypes: []string{"code"},
		RedirectURIs: []string{"http://127.0.0.1/callback", "http://127.0.0.1/connect/hour/callback"}, Scope: "openid offline_access profile email read write",
	}
	machine := oidcprovider.Client{
		Secret: clientSecret, Application: "web", GrantTypes: []string{"client_credentials"},
		ResponseTypes: []string{}, RedirectURIs: []string{}, Scope: "read write",
	}
	like := func(c oidcprovider.Client, id string) oidcprovider.Client { c.ID = id; return c }
	post, public, keyed, keyedMachine := like(person, "post"), like(person, "public"), like(person, "keyed"), like(machine, "keyed-machine")
	post.AuthMethod = "client_secret_post"
	public.AuthMethod, public.Secret = "none", ""
	keyed.AuthMethod, keyed.Secret, keyed.JWKS = "private_key_jwt", "", jwks
	keyedMachine.AuthMethod, keyedMachine.Secret, keyedMachine.JWKS = "private_key_jwt", "", jwks
	return []oidcprovider.Client{like(person, "hour"), like(person, "brief"), like(person, "cut"), post, public, keyed, like(machine, "brief-machine"), keyedMachine}
}

// oidcProviders are Freshet's definitions for them. Only the issuer is given: the endpoints are found.
func oidcProviders(issuer, key string) string {
	var b strings.Builder
	b.WriteString("providers:\n")
	entry := func(name, client string, more ...string) {
		fmt.Fprintf(&b, "  %s:\n    issuer: %s\n    client_id: %s\n", name, issuer, client)
		for _, line := range more {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	const secret, basic, post, consent = "client_secret: env://CLIENT_SECRET", "auth_style: basic", "auth_style: post", "auth_params: {prompt: consent}"
	const scopes = "scopes: [openid, offline_access, profile, email]"
	keyed := []string{"auth_style: private_key_jwt", "client_key: file://" + key}
	entry("hour", "hour", secret, basic, scopes, consent)
	entry("brief", "brief", secret, basic, scopes, consent)
	entry("cut", "cut", secret, basic, scopes, consent)
	entry("post", "post", secret, post, scopes, consent)
	entry("public", "public", "auth_style: none", scopes, consent)
	entry("keyed", "keyed", append(keyed, scopes, consent)...)
	entry("api", "hour", secret, basic, "scopes: [offline_access, read]", "resource: https://api.example.com", consent)
	entry("machine", "brief-machine", secret, basic, "scopes: [read]", "resource: https://api.example.com", "grant: client_credentials")
	entry("keyed-machine", "keyed-machine", append(keyed, "scopes: [write]", "resource: https://api.example.com", "grant: client_credentials")...)
	return b.String()
}

// newKey makes a key pair: a PEM file for Freshet and a key set for the server.
func newKey(t *testing.T) (file string, jwks json.RawMessage) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "client-key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	jwks, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return file, jwks
}

// oidcWorld is oidc-provider, with a witness before it, and a freshet run that has its clients.
type oidcWorld struct {
	*installation
	*witness
}

func newOIDCWorld(t *testing.T) oidcWorld {
	t.Helper()
	key, jwks := newKey(t)
	w := newWitness(t, func(issuer string) http.Handler {
		return proxy(t, oidcprovider.Start(t, issuer, oidcClients(jwks)))
	})
	return oidcWorld{install(t, oidcProviders(w.URL, key), "CLIENT_SECRET="+clientSecret), w}
}

// named is a person who logs in at oidc-provider under that name.
func named(t *testing.T, name string) *person {
	return newPerson(t, map[string]string{"login": name, "password": "x"})
}

// TestOIDCProvider holds Freshet, as people run it, against oidc-provider with strict rotation.
func TestOIDCProvider(t *testing.T) {
	t.Parallel()
	w := newOIDCWorld(t)
	t.Cleanup(func() { checkOnce(t, w.exchanges()) })
	for _, c := range []struct {
		name string
		test func(*testing.T, oidcWorld)
	}{
		{"a refresh token used twice ends the grant until somebody logs in", oidcReuse}, // takes longest
		{"discovery finds every endpoint", oidcDiscovery},
		{"the client and the server's words are understood", oidcTested},
		{"the account's name", oidcName},
		{"the scheduler rotates before each end", oidcRotates},
		{"device", oidcDevice},
		{"every way to authenticate", oidcAuthentication},
		{"resource", oidcResource},
		{"machines", oidcMachines},
		{"revocation", oidcRevocation},
		{"a link in a browser", oidcBrowser},
		{"a lost call is repeated once the server says that it may be", oidcLostCall},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, w)
		})
	}
}

func oidcDiscovery(t *testing.T, w oidcWorld) {
	var d map[string]any
	if err := json.Unmarshal([]byte(w.must(t, "providers", "show", "hour")), &d); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"issuer": w.URL, "auth_url": w.URL + "/auth", "token_url": w.URL + "/token", "device_url": w.URL + "/device/auth",
		"revoke_url": w.URL + "/token/revocation", "introspect_url": w.URL + "/token/introspection", "userinfo_url": w.URL + "/me",
		"authorization_response_iss_parameter_supported": true,
	}
	for name, value := range want {
		if d[name] != value {
			t.Errorf("%s is %v, want %v", name, d[name], value)
		}
	}
}

func oidcTested(t *testing.T, w oidcWorld) {
	for _, name := range []string{"hour", "post", "public", "keyed"} {
		t.Log(w.must(t, "providers", "test", name))
	}
}

// oidcName: the server's ID tokens have the subject alone, as OpenID Connect Core section 5.4 has it; its userinfo has the name.
func oidcName(t *testing.T, w oidcWorld) {
	for _, want := range []string{"hour/dora.name generation 1 version 1", "hour/dora.name generation 2 version 2"} {
		if line := w.login(t, "hour", named(t, "dora")); line != want {
			t.Errorf("the login says %q, want %q", line, want)
		}
	}
}

// oidcRotates: tokens of 8 seconds are renewed by the scheduler's own jobs, and each refresh token is presented once.
func oidcRotates(t *testing.T, w oidcWorld) {
	line := w.login(t, "brief/rotating", named(t, "rotating"))
	if line != "brief/rotating generation 1 version 1" {
		t.Errorf("the login says %q", line)
	}
	w.awaitEvent(t, "brief/rotating", "the third scheduled version after it", func(e event) bool {
		return e.Data.Version >= 4 && e.Data.Reason == "scheduled"
	})
	w.await(t, "brief/rotating", func(token string) bool {
		return w.whoHas(t, token) == "rotating" && w.rotations(t, token) >= 3
	})
}

// await reads a credential's token until the server finds it good: one of few seconds may end on its way there.
func (w oidcWorld) await(t *testing.T, credential string, good func(token string) bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if good(w.must(t, "token", credential, "--min-ttl", "3s")) {
			return
		}
	}
	t.Errorf("the server never finds the token of %s good", credential)
}

// whoHas asks the server's userinfo endpoint whose access token it is.
func (w oidcWorld) whoHas(t *testing.T, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var claims struct{ Sub string }
	if err := json.NewDecoder(resp.Body).Decode(&claims); err != nil {
		t.Fatal(err)
	}
	return claims.Sub
}

// introspect asks the server about a token.
func (w oidcWorld) introspect(t *testing.T, client, token string) map[string]any {
	t.Helper()
	status, answer := w.post(t, client, "/token/introspection", url.Values{"token": {token}})
	if status != http.StatusOK {
		t.Fatalf("introspection says %d: %v", status, answer)
	}
	return answer
}

// oidcReuse: somebody presents a refresh token that was used already; the server ends the grant, and Freshet believes it
// when it is told a second time. A login brings the credential back.
func oidcReuse(t *testing.T, w oidcWorld) {
	w.login(t, "brief/robbed", named(t, "robbed"))
	w.must(t, "refresh", "brief/robbed")
	spent := w.of(t, w.must(t, "token", "brief/robbed")).presented
	if status, answer := w.post(t, "brief", "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {spent}}); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Fatalf("the server takes a refresh token twice: %d %v", status, answer)
	}
	w.command(t, "refresh", "brief/robbed") // it is rejected; a minute later it has to be once more
	e := w.awaitEvent(t, "brief/robbed", "reauth_required", func(e event) bool { return e.Type == "token.reauth_required" })
	if e.Data.Class != "rejected" || e.Data.Code != "invalid_grant" {
		t.Errorf("the event says %+v", e)
	}
	if _, code := w.command(t, "token", "brief/robbed"); code != 4 {
		t.Errorf("reading the token: exit %d, want 4", code)
	}
	if line := w.login(t, "brief/robbed", named(t, "robbed")); !strings.HasPrefix(line, "brief/robbed generation 2 ") {
		t.Errorf("the second login says %q", line)
	}
	w.await(t, "brief/robbed", func(token string) bool { return w.whoHas(t, token) == "robbed" })
}

// oidcDevice: the person agrees in a browser elsewhere, and the grant is refreshed as any other.
func oidcDevice(t *testing.T, w oidcWorld) {
	login := start(t, w.env, "login", "hour/television", "--device")
	code := strings.TrimSpace(login.awaitMatch(t, `^  [A-Z]{4}-[A-Z]{4}$`))
	address := strings.TrimSpace(login.awaitMatch(t, `^  http.*/device$`))
	viewer := newPerson(t, map[string]string{"login": "viewer", "password": "x", "user_code": code})
	if page := viewer.visit(t, address); !strings.Contains(page, "Sign-in Success") {
		t.Fatalf("after the code was entered: %s", page)
	}
	if text := login.ended(t); !strings.Contains(text, "hour/television generation 1 version 1") {
		t.Errorf("the login says %s", text)
	}
	w.must(t, "refresh", "hour/television")
	if subject := w.whoHas(t, w.must(t, "token", "hour/television")); subject != "viewer" {
		t.Errorf("the token is of %q", subject)
	}
}

// oidcAuthentication: login and refresh by each method that the server has for clients.
func oidcAuthentication(t *testing.T, w oidcWorld) {
	for _, name := range []string{"hour", "post", "public", "keyed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			credential := name + "/amy"
			w.login(t, credential, named(t, "amy"))
			w.must(t, "refresh", credential)
			token := w.must(t, "token", credential)
			e := w.of(t, token)
			if subject := w.whoHas(t, token); subject != "amy" || e.grant != "refresh_token" || e.assertion != (name == "keyed") {
				t.Errorf("the token is of %q, by grant %s, assertion %t", subject, e.grant, e.assertion)
			}
		})
	}
}

// oidcResource: tokens are for the resource that was asked for (RFC 8707), the refreshed ones too.
func oidcResource(t *testing.T, w oidcWorld) {
	w.login(t, "api/reader", named(t, "reader"))
	for range 2 {
		if a := w.introspect(t, "hour", w.must(t, "token", "api/reader")); a["active"] != true || a["aud"] != "https://api.example.com" || a["scope"] != "read" {
			t.Errorf("the server says of the token: %v", a)
		}
		w.must(t, "refresh", "api/reader")
	}
}

// oidcMachines: clients that act for themselves get a token at once, and another before its end.
func oidcMachines(t *testing.T, w oidcWorld) {
	w.must(t, "login", "machine/reports")
	w.awaitEvent(t, "machine/reports", "the next scheduled version", func(e event) bool { return e.Data.Version >= 2 && e.Data.Reason == "scheduled" })
	w.await(t, "machine/reports", func(token string) bool {
		a := w.introspect(t, "brief-machine", token)
		return a["active"] == true && a["scope"] == "read"
	})
	w.must(t, "login", "keyed-machine/reports")
	w.must(t, "refresh", "keyed-machine/reports")
	if e := w.of(t, w.must(t, "token", "keyed-machine/reports")); !e.assertion || e.grant != "client_credentials" {
		t.Errorf("the token came by %+v", e.grant)
	}
}

// oidcRevocation: what freshet revoke withdraws is dead at the server.
func oidcRevocation(t *testing.T, w oidcWorld) {
	w.login(t, "hour/leaver", named(t, "leaver"))
	access := w.must(t, "token", "hour/leaver")
	grant := w.of(t, access).issued
	for _, token := range []string{access, grant} {
		if a := w.introspect(t, "hour", token); a["active"] != true {
			t.Errorf("before: %v", a)
		}
	}
	if out := start(t, w.env, "revoke", "hour/leaver").ended(t); !strings.Contains(out, "here and at the provider") {
		t.Errorf("revoke says %q", out)
	}
	for _, token := range []string{access, grant} {
		if a := w.introspect(t, "hour", token); a["active"] != false {
			t.Errorf("after: %v", a)
		}
	}
	if out, code := w.command(t, "token", "hour/leaver"); code == 0 || out != "" {
		t.Errorf("reading the token: exit %d", code)
	}
}

// oidcLostCall: a refresh whose connection breaks may have used the refresh token up, and at a strict server is not repeated
// blindly. This one says by introspection that it has not been used, and so it is.
func oidcLostCall(t *testing.T, w oidcWorld) {
	w.login(t, "cut/unlucky", named(t, "unlucky"))
	asked := w.asks("/token/introspection")
	w.cutNext("cut")
	w.command(t, "refresh", "cut/unlucky") // it fails, as a rule before the next try
	w.awaitEvent(t, "cut/unlucky", "version 2", func(e event) bool { return e.Data.Version == 2 })
	if w.asks("/token/introspection") == asked {
		t.Error("nobody asked whether the refresh token is still good")
	}
}
