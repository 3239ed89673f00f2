// Package deploy_test holds what is in this folder against the programs it is for: the NATS configuration is loaded by
// nats-server itself and every role works under it, the container files are checked against the sources.
package deploy_test

import (
	"bytes"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/internal/permissions"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	confFile = "nats/nats-server.conf"
	// patience bounds the wait for what must come; it is only ever used up by a failure.
	patience = time.Minute
)

// world is a NATS server under the configuration, and an authorization server with one provider on it.
type world struct {
	t             *testing.T
	server        *server.Server
	keysets       app.KeysetFiles
	grant, access *seal.Keyset
	auth          *authserver.Server
	authURL       string
	client        *http.Client
	denials       denials
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldUnder(t, confFile)
}

// admin is a user of narrow worlds that may do everything: somebody sets them up.
const admin = "admin"

// newNarrowWorld has users that are narrowed to a scope, just as the command prints them, and admin beside them.
func newNarrowWorld(t *testing.T, s permissions.Scope) *world {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats-server.conf")
	var users bytes.Buffer
	err := permissions.Write(&users, permissions.Conf, "", s)
	const list = "users: ["
	text := "jetstream { sync_interval: always }\n" +
		strings.Replace(users.String(), list, list+"{user: "+admin+", password: "+password(admin)+"}", 1)
	if err := errors.Join(err, os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return newWorldUnder(t, file)
}

// newWorldUnder takes the configuration from a file.
func newWorldUnder(t *testing.T, conf string) *world {
	t.Helper()
	w := &world{t: t, server: startNATS(t, conf), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(w.client.CloseIdleConnections)
	var err error
	w.keysets, err = app.GenerateKeysets(filepath.Join(t.TempDir(), "keys"))
	w.must(err)
	w.grant, w.access, err = w.keysets.Load()
	w.must(err)
	w.auth = authserver.New(authserver.Config{})
	srv := httptest.NewServer(w.auth)
	t.Cleanup(srv.Close)
	w.authURL = srv.URL
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// startNATS starts a server as the command line does: nats-server -c FILE -p PORT -sd DIR.
func startNATS(t *testing.T, conf string) *server.Server {
	t.Helper()
	nothing := func() {}
	opts, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ContinueOnError),
		[]string{"-c", conf, "-a", "127.0.0.1", "-p", "-1", "-sd", t.TempDir()}, nothing, nothing, nothing)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	return start(t, opts)
}

// start runs a server until the test ends.
func start(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("nats-server is not ready")
	}
	return s
}

// connect makes a connection as the processes do, under a role's user, and takes note of what is denied.
func (w *world) connect(role string, extra ...nats.Option) *nats.Conn {
	w.t.Helper()
	opts := append(app.ConnectOptions(zerolog.Nop()), nats.RetryOnFailedConnect(false),
		nats.UserInfo(role, password(role)), nats.CustomInboxPrefix("_INBOX_"+role),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { w.denials.add(role, err) }))
	nc, err := nats.Connect(w.server.ClientURL(), append(opts, extra...)...)
	w.must(err)
	w.t.Cleanup(func() { natstest.Close(nc) })
	return nc
}

// broker speaks JetStream under a role's user.
func (w *world) broker(role string) *broker.Broker {
	w.t.Helper()
	b, err := broker.New(w.connect(role), broker.Config{})
	w.must(err)
	return b
}

func (w *world) keys() refresh.Keys {
	return refresh.Keys{Bucket: events.Names{}.TokensBucket(), Grant: w.grant, Access: w.access}
}

// acme is the provider on the authorization server.
func (w *world) acme() provider.Definition {
	return provider.Definition{
		Name: "acme", Issuer: w.authURL, AuthURL: w.authURL + "/authorize", TokenURL: w.authURL + "/token",
		RevokeURL: w.authURL + "/revoke", IntrospectURL: w.authURL + "/introspect",
		ClientID: "dev", ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
	}.WithDefaults()
}

// denials are the permission violations of all connections.
type denials struct {
	mu   sync.Mutex
	list []string
}

func (d *denials) add(role string, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.list = append(d.list, role+": "+err.Error())
	}
}

func (d *denials) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.list)
}

func TestConfigurationIsWhatTheFleetNeeds(t *testing.T) {
	t.Parallel()
	// CheckConfig makes the parser refuse what it does not know.
	opts := &server.Options{CheckConfig: true}
	if err := opts.ProcessConfigFile(confFile); err != nil {
		t.Fatal(err)
	}
	if !opts.JetStream || !opts.SyncAlways {
		t.Errorf("JetStream is %v, sync always is %v: want both", opts.JetStream, opts.SyncAlways)
	}
	var users []string
	for _, u := range opts.Users {
		users = append(users, u.Username)
		p := u.Permissions
		if p == nil || p.Publish == nil || len(p.Publish.Allow) == 0 || p.Subscribe == nil || len(p.Subscribe.Allow) == 0 {
			t.Errorf("user %s: want a list of what it may publish and one of what it may subscribe to", u.Username)
		}
		if u.Password != password(u.Username) {
			t.Errorf("user %s: the password is not that of %s", u.Username, passwordVariable(u.Username))
		}
	}
	slices.Sort(users)
	if want := slices.Sorted(slices.Values(roles())); !slices.Equal(users, want) {
		t.Errorf("users %v, want %v", users, want)
	}
	if opts.NoAuthUser != "" {
		t.Errorf("whoever gives no password is %s: want nobody", opts.NoAuthUser)
	}
}

func TestNoPasswordIsWrittenDown(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(confFile)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(data), "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok && key == "password" && !strings.HasPrefix(strings.TrimSpace(value), "$FRESHET_") {
			t.Errorf("line %d: a password stands in the file: take it from the environment", i+1)
		}
	}
}

func TestWrongAndMissingPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	s := startNATS(t, confFile)
	for name, opts := range map[string][]nats.Option{
		"none":            nil,
		"somebody else's": {nats.UserInfo("worker", password("reader"))},
		"empty":           {nats.UserInfo("operator", "")},
	} {
		nc, err := nats.Connect(s.ClientURL(), opts...)
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: got %v, want %v", name, err, nats.ErrAuthorization)
		}
		if nc != nil {
			natstest.Close(nc)
		}
	}
}
