package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// The keys of what a script carries with it.
type (
	processesKey struct{}
	varsKey      struct{}
)

func setup(env *testscript.Env) error {
	env.Values[processesKey{}] = processes{}
	env.Values[varsKey{}] = map[string]bool{}
	// Nothing of the machine's own settings leads a script elsewhere.
	env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, ".config"))
	env.Setenv("NATS_URL", "nats://127.0.0.1:1")
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		return err
	}
	env.Setenv("DOCS", docs)
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "XDG_CONFIG_HOME", "NATS_URL", "WORK"} {
		env.Values[varsKey{}].(map[string]bool)[name] = true
	}
	return nil
}

func running(ts *testscript.TestScript) processes { return ts.Value(processesKey{}).(processes) }

// set sets a variable that processes started by the script see as well.
func set(ts *testscript.TestScript, name, value string) {
	ts.Setenv(name, value)
	ts.Value(varsKey{}).(map[string]bool)[name] = true
}

// environment is what the script's processes see.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for name := range ts.Value(varsKey{}).(map[string]bool) {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

// cmdNATS: nats [STORE] starts a server for this script, with nothing in it, and sets NATS_URL.
func cmdNATS(ts *testscript.TestScript, neg bool, args []string) {
	store := append(args, "nats-store")[0]
	s, err := embedded.Start(embedded.Config{StoreDir: ts.MkAbs(store)})
	ts.Check(err)
	ts.Defer(s.Shutdown)
	set(ts, "NATS_URL", s.URL())
}

// cmdProvider: provider NAME FILE [LIFETIME] starts an authorization server and writes the definition of it.
func cmdProvider(ts *testscript.TestScript, neg bool, args []string) {
	cfg := authserver.Config{
		DeviceInterval: time.Second, Claims: func(string) map[string]any { return nil },
		Clients: []authserver.Client{{ID: "dev", Secret: "dev-secret", RedirectURIs: []string{
			"http://127.0.0.1/callback", "http://127.0.0.1/connect/acme/callback",
		}}},
	}
	if len(args) > 2 {
		var err error
		cfg.AccessLifetime, err = time.ParseDuration(args[2])
		ts.Check(err)
	}
	srv := httptest.NewServer(authserver.New(cfg))
	ts.Defer(srv.Close)
	set(ts, "AUTH_URL", srv.URL)
	define(ts, args[0], args[1], srv.URL)
}

// define writes the definition of an authorization server under a name.
func define(ts *testscript.TestScript, name, file, url string) {
	text := fmt.Sprintf("providers:\n  %s:\n    issuer: %[2]s\n    auth_url: %[2]s/authorize\n    token_url: %[2]s/token\n    device_url: %[2]s/device_authorization\n"+
		"    client_id: dev\n    client_secret: env://DEV_SECRET\n    auth_style: basic\n    rotation: strict\n", name, url)
	set(ts, "DEV_SECRET", "dev-secret")
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
}

// authServer is where a dev process says that its authorization server is.
func authServer(ts *testscript.TestScript, name string) string {
	server := regexp.MustCompile(`Authorization server +(http://\S+),`)
	line, ok := running(ts).get(ts, name).await(server)
	if !ok {
		ts.Fatalf("%s has no authorization server", name)
	}
	return server.FindStringSubmatch(line)[1]
}

// cmdAnother: another PROCESS NAME FILE writes the definition of a dev process's authorization server under another name.
func cmdAnother(ts *testscript.TestScript, neg bool, args []string) {
	define(ts, args[1], args[2], authServer(ts, args[0]))
}

// cmdRecord: record CREDENTIAL STATE writes a state into a record, as the worker does that has a provider's word for it.
func cmdRecord(ts *testscript.TestScript, neg bool, args []string) {
	cred, err := events.ParseCredential(args[0])
	ts.Check(err)
	b, done := connect(ts)
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := b.Get(ctx, cred)
	ts.Check(err)
	s.Record.State = refresh.State(args[1])
	_, err = b.Put(ctx, refresh.Write{Record: s.Record, Revision: s.Revision})
	ts.Check(err)
}

var exported = regexp.MustCompile(`^export ([A-Z_]+)='([^']*)'$`)

// envFile is where a process says its environment file is.
func envFile(ts *testscript.TestScript, name string) string {
	said := regexp.MustCompile(`source (/.+/env)$`)
	line, ok := running(ts).get(ts, name).await(said)
	if !ok {
		ts.Fatalf("%s names no environment file", name)
	}
	return said.FindStringSubmatch(line)[1]
}

// cmdSource: source NAME takes over the variables of a process's environment file, which is for its owner alone.
func cmdSource(ts *testscript.TestScript, neg bool, args []string) {
	file := envFile(ts, args[0])
	cmdMode(ts, false, []string{"0600", file})
	n := 0
	for line := range strings.Lines(ts.ReadFile(file)) {
		if m := exported.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			set(ts, m[1], m[2])
			n++
		}
	}
	if n == 0 {
		ts.Fatalf("%s exports nothing", args[0])
	}
}

// cmdVisit: visit NAME is the person who opens the address that the process prints, and agrees.
func cmdVisit(ts *testscript.TestScript, neg bool, args []string) {
	line, ok := running(ts).get(ts, args[0]).await(regexp.MustCompile(`^\s*http://`))
	if !ok {
		ts.Fatalf("%s prints no address", args[0])
	}
	ts.Check(enroll.PlayBrowser(http.DefaultClient)(context.Background(), strings.TrimSpace(line)))
}

// cmdTwins: twins NAME FILE obtains a grant from the authorization server of a dev process, behind its back, and writes
// import lines that give its one refresh token to two accounts: a mistake that strict rotation answers by ending it.
func cmdTwins(ts *testscript.TestScript, neg bool, args []string) {
	url := authServer(ts, args[0])
	d := provider.Definition{
		Name: "demo", AuthURL: url + "/authorize", TokenURL: url + "/token", ClientID: "dev",
		ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
	}.WithDefaults()
	g, err := enroll.Login(context.Background(), enroll.LoginConfig{
		Definition: &d, Credential: events.Credential{Provider: "demo", Account: "twins"}, OpenBrowser: enroll.PlayBrowser(http.DefaultClient),
	})
	ts.Check(err)
	var text strings.Builder
	for _, account := range []string{"castor", "pollux"} {
		fmt.Fprintf(&text, "{\"provider\":\"demo\",\"account\":%q,\"refresh_token\":%q}\n", account, g.RefreshToken.Reveal())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text.String()), 0o600))
}

// browse is what a desktop runs to open an address.
func browse() {
	if err := enroll.PlayBrowser(http.DefaultClient)(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// cmdTries: tries NAME types everything that the banner of the process NAME suggests into a shell, after the line that
// sources the environment file.
func cmdTries(ts *testscript.TestScript, neg bool, args []string) {
	p := running(ts).get(ts, args[0])
	file := envFile(ts, args[0])
	if _, ok := p.await(regexp.MustCompile(`^    freshet login `)); !ok {
		ts.Fatalf("the banner of %s does not end", args[0])
	}
	out, _, _ := p.lines()
	n := 0
	for _, line := range out {
		if command, ok := strings.CutPrefix(line, "    freshet "); ok {
			n++
			if err := ts.Exec("sh", "-c", "NATS_CONTEXT=elsewhere; export NATS_CONTEXT; . "+file+" && freshet "+command); err != nil {
				ts.Fatalf("the banner suggests %q: %v", command, err)
			}
		}
	}
	if n < 5 {
		ts.Fatalf("the banner suggests %d commands only", n)
	}
}

// cmdFreePort: freeport NAME sets a variable to a port that nobody listens on.
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ts.Check(l.Close())
	set(ts, args[0], port)
}

// cmdDropAudit: dropaudit takes the audit stream away, as if setup had never made it.
func cmdDropAudit(ts *testscript.TestScript, neg bool, args []string) {
	b, done := connect(ts)
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(b.JetStream().DeleteStream(ctx, b.Names().AuditStream()))
}

// cmdExits: exits CODE COMMAND ARGS... runs a command and compares its exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%q ends with code %d, want %s", args[1:], code, args[0])
	}
}

// cmdMode: mode PERM FILE compares a file's permissions.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%#o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// connect opens the script's NATS.
func connect(ts *testscript.TestScript) (*broker.Broker, func()) {
	nc, err := connectNATS(ts.Getenv("NATS_URL"))
	ts.Check(err)
	b, err := broker.New(nc, broker.Config{})
	ts.Check(err)
	return b, nc.Close
}

func connectNATS(url string) (*nats.Conn, error) {
	return nats.Connect(url, broker.ConnectOptions(broker.ConnectHooks{})...)
}
