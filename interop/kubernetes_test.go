package interop_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/embedded"
)

// freshet is the freshet command with a NATS server of its own and one provider, acme.
type freshet struct {
	t   *testing.T
	dir string
	env []string
}

func newFreshet(t *testing.T) *freshet {
	t.Helper()
	f := &freshet{t: t, dir: t.TempDir()}
	s, err := embedded.Start(embedded.Config{StoreDir: filepath.Join(f.dir, "nats")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	f.env = []string{
		"NATS_URL=" + s.URL(), "DEV_SECRET=dev-secret", "HOME=" + f.dir, "PATH=" + os.Getenv("PATH"),
		"FRESHET_GRANT_KEYSET_FILE=" + filepath.Join(f.dir, "grant.keyset.json"),
		"FRESHET_ACCESS_KEYSET_FILE=" + filepath.Join(f.dir, "access.keyset.json"),
	}
	issuer := httptest.NewServer(authserver.New(authserver.Config{}))
	t.Cleanup(issuer.Close)
	f.run("", "setup")
	f.run("", "keys", "generate", "--dir", f.dir)
	f.run(fmt.Sprintf("providers:\n  acme:\n    auth_url: %[1]s/authorize\n    token_url: %[1]s/token\n    client_id: dev\n"+
		"    client_secret: env://DEV_SECRET\n    auth_style: basic\n", issuer.URL), "apply", "-f", "-")
	return f
}

func (f *freshet) run(in string, args ...string) {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), binary, args...)
	cmd.Env, cmd.Stdin = f.env, strings.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("freshet %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// enrol gives acme/alice an access token.
func (f *freshet) enrol(access string) {
	f.t.Helper()
	f.run(fmt.Sprintf(`{"provider":"acme","account":"alice","access_token":%q,"expires_at":"2099-01-02T15:04:05Z"}`, access), "import")
}

// cluster is an API server that takes one token at a time.
type cluster struct {
	*httptest.Server
	mu    sync.Mutex
	token string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer "+c.token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"gitVersion":"v1.99"}`)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) takes(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
}

// TestKubernetesClientsUseTheExecPlugin has client-go run freshet credential-helper kubernetes, as kubectl does, and run it
// again when the API server refuses the token.
func TestKubernetesClientsUseTheExecPlugin(t *testing.T) {
	t.Parallel()
	f, c := newFreshet(t), newCluster(t)
	var env []api.ExecEnvVar
	for _, v := range f.env {
		name, value, _ := strings.Cut(v, "=")
		env = append(env, api.ExecEnvVar{Name: name, Value: value})
	}
	client, err := rest.HTTPClientFor(&rest.Config{
		Host:            c.URL,
		TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})},
		ExecProvider: &api.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: api.NeverExecInteractiveMode,
			Command: binary, Args: []string{"credential-helper", "kubernetes", "acme/alice"}, Env: env,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func() (int, string) {
		t.Helper()
		resp, err := client.Get(c.URL + "/version")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	f.enrol("token-1")
	c.takes("token-1")
	if status, body := get(); status != http.StatusOK || !strings.Contains(body, "v1.99") {
		t.Errorf("with the first token: %d %s", status, body)
	}
	f.enrol("token-2")
	if status, _ := get(); status != http.StatusOK {
		t.Errorf("the first token is kept while it lives: %d", status)
	}
	c.takes("token-2")
	if status, _ := get(); status != http.StatusUnauthorized {
		t.Errorf("the first token is refused now: %d", status)
	}
	if status, _ := get(); status != http.StatusOK {
		t.Errorf("after a refusal the plugin is asked again: %d", status)
	}
}
