package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/freshetdev/freshet/internal/agent"
	"github.com/freshetdev/freshet/internal/socket"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// scripted is a Source whose answers go by the account.
type scripted struct{}

func (scripted) Token(_ context.Context, id string, least time.Duration) (tokens.Token, error) {
	if least > time.Hour {
		return tokens.Token{}, fmt.Errorf("%s: %w", id, tokens.ErrNotRenewed)
	}
	_, account, _ := strings.Cut(id, "/")
	err := map[string]error{
		"gone": tokens.ErrNotFound, "revoked": tokens.ErrRevoked, "reauth": tokens.ErrReauthRequired, "away": tokens.ErrUnavailable,
		"late": tokens.ErrExpired, "denied": tokens.ErrPermission, "sealed": seal.ErrUnknownKey, "slow": context.DeadlineExceeded,
	}[account]
	if err != nil {
		return tokens.Token{}, fmt.Errorf("%s: %w", id, err)
	}
	t := token("access of " + id)
	t.ExpiresAt = time.Now().Add(time.Hour)
	if account == "endless" {
		t.ExpiresAt = time.Time{}
	}
	return t, nil
}

func (s scripted) Refused(ctx context.Context, id, access string) (tokens.Token, error) {
	t, err := s.Token(ctx, id, 0)
	if err == nil && access == "hopeless" {
		return tokens.Token{}, tokens.ErrNotRenewed
	}
	return t, err
}

// description is what these tests need of the OpenAPI file.
type description struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Ref string `yaml:"$ref"`
		} `yaml:"responses"`
	} `yaml:"paths"`
	Components struct {
		Schemas map[string]struct {
			Required   []string `yaml:"required"`
			Properties map[string]struct {
				Type string   `yaml:"type"`
				Enum []string `yaml:"enum"`
			} `yaml:"properties"`
		} `yaml:"schemas"`
	} `yaml:"components"`
}

func described(t *testing.T) (d description) {
	t.Helper()
	text := string(agent.OpenAPI())
	// The parameters of a path are beside its operations.
	text = strings.Replace(text, "    parameters:\n      - {name: provider", "    x-parameters:\n      - {name: provider", 1)
	var raw map[string]any
	if err := yaml.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatal(err)
	}
	for _, p := range raw["paths"].(map[string]any) {
		delete(p.(map[string]any), "x-parameters")
	}
	data, err := yaml.Marshal(raw)
	if err := errors.Join(err, yaml.Unmarshal(data, &d)); err != nil {
		t.Fatal(err)
	}
	return d
}

// check holds an answer against the description.
func (d description) check(t *testing.T, path, method string, resp *http.Response, body []byte) {
	t.Helper()
	declared, ok := d.Paths[path][strings.ToLower(method)].Responses[strconv.Itoa(resp.StatusCode)]
	if !ok {
		t.Errorf("%s %s: %d is not described", method, path, resp.StatusCode)
		return
	}
	if declared.Ref == "" {
		return
	}
	schema := d.Components.Schemas[filepath.Base(declared.Ref)] // responses are called as their schemas
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: %d: not JSON: %v", method, path, resp.StatusCode, err)
	}
	for _, name := range schema.Required {
		if got[name] == nil {
			t.Errorf("%s %s: %d without %s", method, path, resp.StatusCode, name)
		}
	}
	for name, value := range got {
		p, ok := schema.Properties[name]
		_, text := value.(string)
		if !ok || text != (p.Type == "string") || len(p.Enum) > 0 && !slices.Contains(p.Enum, value.(string)) {
			t.Errorf("%s %s: %d: %s: %v is not described", method, path, resp.StatusCode, name, value)
		}
	}
}

const tokenPath = "/v1/tokens/{provider}/{account}"

// TestTheInterfaceIsAsDescribed asks for everything, and holds each answer against openapi.yaml; and the other way about,
// nothing is described that does not happen.
func TestTheInterfaceIsAsDescribed(t *testing.T) {
	t.Parallel()
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := agent.Config{Callers: []agent.Caller{{Name: "ci", SecretFile: secretFile, Allow: []string{"acme/*"}}}}
	handler, err := cfg.Handler(scripted{})
	if err != nil {
		t.Fatal(err)
	}
	d := described(t)
	seen := make(map[string]bool)
	for _, c := range []struct {
		name, method, path, form string
		change                   func(*http.Request)
		status                   int
		word                     string
	}{
		{name: "a token", path: "/v1/tokens/acme/team/alice", status: 200},
		{name: "escaped", path: "/v1/tokens/acme/team%2Falice%40x", status: 200},
		{name: "without an end", path: "/v1/tokens/acme/endless", status: 200},
		{name: "long enough", path: "/v1/tokens/acme/alice?min_ttl=60s", status: 200},
		{name: "too long", path: "/v1/tokens/acme/alice?min_ttl=2h", status: 503, word: "not_renewed"},
		{name: "a body that nobody reads", path: "/v1/tokens/acme/alice", form: "--b\r\nContent-Disposition: form-data; name=\"min_ttl\"\r\n\r\n2h\r\n--b--\r\n",
			change: func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=b") }, status: 200},
		{name: "no duration", path: "/v1/tokens/acme/alice?min_ttl=60", status: 400, word: "invalid_request"},
		{name: "no provider's name", path: "/v1/tokens/ACME/alice", status: 400, word: "invalid_request"},
		{name: "not there", path: "/v1/tokens/acme/gone", status: 404, word: "not_found"},
		{name: "revoked", path: "/v1/tokens/acme/revoked", status: 409, word: "revoked"},
		{name: "a person must act", path: "/v1/tokens/acme/reauth", status: 409, word: "reauth_required"},
		{name: "NATS is away", path: "/v1/tokens/acme/away", status: 503, word: "temporarily_unavailable"},
		{name: "expired", path: "/v1/tokens/acme/late", status: 503, word: "temporarily_unavailable"},
		{name: "in time", path: "/v1/tokens/acme/slow", status: 503, word: "temporarily_unavailable"},
		{name: "denied by NATS", path: "/v1/tokens/acme/denied", status: 500, word: "server_error"},
		{name: "another key", path: "/v1/tokens/acme/sealed", status: 500, word: "server_error"},
		{name: "not for this caller", path: "/v1/tokens/other/alice", status: 403, word: "access_denied"},
		{name: "not for this caller, and not there", path: "/v1/tokens/other/gone", status: 403, word: "access_denied"},
		{name: "no secret", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Header.Del("Authorization") }, status: 401, word: "invalid_client"},
		{name: "another secret", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer 0123456789abcdee") }, status: 401, word: "invalid_client"},
		{name: "no header", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Header.Del("X-Freshet-Token") }, status: 403, word: "access_denied"},
		{name: "a proxy", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.1") }, status: 403, word: "access_denied"},
		{name: "another proxy", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Header.Set("Forwarded", "for=10.0.0.1") }, status: 403, word: "access_denied"},
		{name: "rebound", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Host = "evil.example:8970" }, status: 403, word: "access_denied"},
		{name: "rebound to a name that looks like it", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Host = "127.0.0.1.evil.example" }, status: 403, word: "access_denied"},
		{name: "IPv6", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Host = "[::1]:8970" }, status: 200},
		{name: "refused", method: "POST", path: "/v1/tokens/acme/alice", form: "refused_token=x", status: 200},
		{name: "refused again", method: "POST", path: "/v1/tokens/acme/alice", form: "refused_token=hopeless", status: 503, word: "not_renewed"},
		{name: "refused what", method: "POST", path: "/v1/tokens/acme/alice?refused_token=x", status: 400, word: "invalid_request"},
		{name: "refused, a person must act", method: "POST", path: "/v1/tokens/acme/reauth", form: "refused_token=x", status: 409, word: "reauth_required"},
		{name: "refused, not there", method: "POST", path: "/v1/tokens/acme/gone", form: "refused_token=x", status: 404, word: "not_found"},
		{name: "refused, another key", method: "POST", path: "/v1/tokens/acme/sealed", form: "refused_token=x", status: 500, word: "server_error"},
		{name: "refused, not for this caller", method: "POST", path: "/v1/tokens/other/alice", form: "refused_token=x", status: 403, word: "access_denied"},
		{name: "refused, no secret", method: "POST", path: "/v1/tokens/acme/alice", change: func(r *http.Request) { r.Header.Del("Authorization") }, status: 401, word: "invalid_client"},
		{name: "the description", path: "/openapi.yaml", status: 200},
		{name: "the description, no header", path: "/openapi.yaml", change: func(r *http.Request) { r.Header.Del("X-Freshet-Token") }, status: 403, word: "access_denied"},
	} {
		method := c.method
		if method == "" {
			method = http.MethodGet
		}
		r := httptest.NewRequest(method, "http://localhost:8970"+c.path, strings.NewReader(c.form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Freshet-Token", "true")
		r.Header.Set("Authorization", "Bearer 0123456789abcdef")
		if c.change != nil {
			c.change(r)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		resp := w.Result()
		if resp.StatusCode != c.status || c.word != "" && !strings.Contains(w.Body.String(), `"error":"`+c.word+`"`) {
			t.Errorf("%s: %d %s, want %d %s", c.name, resp.StatusCode, w.Body, c.status, c.word)
		}
		path := tokenPath
		if c.path == "/openapi.yaml" {
			path = c.path
		} else if resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the answer may be kept", c.name)
		}
		d.check(t, path, method, resp, w.Body.Bytes())
		seen[fmt.Sprint(path, strings.ToLower(method), resp.StatusCode)] = true
	}
	for path, methods := range d.Paths {
		for method, op := range methods {
			for status := range op.Responses {
				if !seen[path+method+status] {
					t.Errorf("%s %s: %s is described and was never seen", method, path, status)
				}
			}
		}
	}
}

func TestCallersAreKnownByTheirProcess(t *testing.T) {
	t.Parallel()
	uid, gid := uint32(1000), uint32(50)
	cfg := agent.Config{Callers: []agent.Caller{
		{Name: "web", UID: &uid, Allow: []string{"acme/alice"}}, {Name: "staff", GID: &gid, Allow: []string{"acme/bob"}},
		{Name: "one", UID: &uid, GID: &gid, Allow: []string{"acme/carol"}},
	}}
	handler, err := cfg.Handler(scripted{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uid, gid uint32
		account  string
		status   int
	}{
		{1000, 1, "alice", 200}, {1000, 1, "bob", 403}, {1000, 1, "carol", 403}, {1000, 50, "carol", 200}, {1000, 50, "bob", 200},
		{7, 50, "bob", 200}, {7, 50, "alice", 403}, {7, 7, "alice", 403}, {0, 0, "alice", 403},
	} {
		r := httptest.NewRequestWithContext(agent.FromPeer(t.Context(), c.uid, c.gid), http.MethodGet, "http://localhost/v1/tokens/acme/"+c.account, nil)
		r.Header.Set("X-Freshet-Token", "true")
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != c.status {
			t.Errorf("%+v: %d", c, w.Code)
		}
	}
}

func TestASecretMustBeASecret(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := agent.Config{Callers: []agent.Caller{{Name: "a", SecretFile: file}, {Name: "b", SecretFile: file + "x"}}}.Handler(scripted{})
	if err == nil || !strings.Contains(err.Error(), "has 6 bytes, want 16 or more") || !strings.Contains(err.Error(), "secret of caller b") || strings.Contains(err.Error(), "canary") {
		t.Errorf("error = %v", err)
	}
}

func TestAnAgentServesItsOwnerAndOutlivesNATS(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	access := s.put("team/a.b//c", 1, refresh.StateActive)
	address := socketAddress(t)
	where, stop := s.run(agent.Config{Listen: []string{address}})
	if len(where) != 1 || where[0] != address {
		t.Errorf("listens on %v", where)
	}
	path := strings.TrimPrefix(address, "unix://")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want 0600", info, err)
	}
	remote, err := agent.NewRemote(address)
	if err != nil {
		t.Fatal(err)
	}
	const id = "acme/team/a.b//c"
	got, err := remote.Token(t.Context(), id, time.Minute)
	if err != nil || got.AccessToken.Reveal() != access || got.Credential.String() != id || time.Until(got.ExpiresAt) < 59*time.Minute || len(got.Scopes) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := remote.Token(t.Context(), "acme/nobody", 0); !errors.Is(err, tokens.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	if got, err = remote.Refused(t.Context(), id, "an older one"); err != nil || got.AccessToken.Reveal() != access {
		t.Errorf("an older one was refused: %v", err)
	}
	if _, err := agent.Open(t.Context(), agent.Config{Listen: []string{address}}, s.client, nopLog(), nil); !errors.Is(err, socket.ErrInUse) {
		t.Errorf("a second agent: %v", err)
	}
	s.server.Stop()
	if got, err = remote.Token(t.Context(), id, 0); err != nil || got.AccessToken.Reveal() != access {
		t.Errorf("without NATS: %v", err)
	}
	stop()
	if _, err := remote.Token(t.Context(), id, 0); !errors.Is(err, agent.ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
}

func TestLoopbackAsksForTheSecret(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	access := s.put("alice", 1, refresh.StateActive)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	where, _ := s.run(agent.Config{
		Listen:  []string{"127.0.0.1:0"},
		Callers: []agent.Caller{{SecretFile: file, Allow: []string{"acme/alice"}}},
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for secret, want := range map[string]int{"0123456789abcdef": 200, "": 401, "wrong": 401} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, where[0]+"/v1/tokens/acme/alice", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Freshet-Token", "true")
		r.Header.Set("Authorization", "Bearer "+secret)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want || (want == 200) != strings.Contains(string(body), access) {
			t.Errorf("%q: %d %s %v, want %d", secret, resp.StatusCode, body, err, want)
		}
	}
}

func TestThePeerIsWhoTheKernelSays(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("unix", strings.TrimPrefix(socketAddress(t), "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	uid, gid, known := agent.PeerOf(conn.(*net.UnixConn))
	if known != agent.PeersKnown || known && (int(uid) != os.Getuid() || int(gid) != os.Getgid()) {
		t.Errorf("uid %d, gid %d, known %t", uid, gid, known)
	}
}
