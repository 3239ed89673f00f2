package solo_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/solo"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

func devConfig(out *bytes.Buffer) solo.DevConfig {
	return solo.DevConfig{Credentials: 3, Lifetime: 2 * time.Second, Rotation: authserver.RotationStrict, Out: out}
}

func TestDevEndsByItselfAndJudgesItself(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cfg := devConfig(&out)
	cfg.For, cfg.Seed = time.Second, 5
	if err := solo.Dev(t.Context(), cfg); err != nil {
		t.Fatalf("dev: %v\n%s", err, out.String())
	}
	for _, want := range []string{"DEV MODE", "source /", "(3 enrolled)", "Seed                   5", "All agrees: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
	_, file, _ := strings.Cut(out.String(), "source ")
	file, _, _ = strings.Cut(file, "\n")
	if _, err := os.Stat(filepath.Dir(file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", filepath.Dir(file), err)
	}
}

func TestDevThatIsCancelledBeforeItRunsJudgesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := solo.Dev(ctx, devConfig(&out)); err != nil || strings.Contains(out.String(), "agrees") {
		t.Errorf("cancelled dev: %v, %q; want no error and no judgement", err, out.String())
	}
}

func TestDevUsesThePortThatItIsGiven(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cfg := devConfig(&out)
	cfg.For, cfg.AuthPort = time.Millisecond, l.Addr().(*net.TCPAddr).Port
	if err := solo.Dev(t.Context(), cfg); !errors.Is(err, solo.ErrAuthPortTaken) || !strings.Contains(err.Error(), "--auth-port") {
		t.Errorf("taken port: %v; want ErrAuthPortTaken and what to do", err)
	}
	l.Close()
	if err := solo.Dev(t.Context(), cfg); err != nil || !strings.Contains(out.String(), "http://"+l.Addr().String()+",") {
		t.Errorf("free port: %v; want it in\n%s", err, out.String())
	}
}

func TestDevChecksItsConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*solo.DevConfig)
		want   []string
	}{
		"no credentials":       {func(c *solo.DevConfig) { c.Credentials = 0 }, []string{"--credentials 0"}},
		"too many":             {func(c *solo.DevConfig) { c.Credentials = 100_001 }, []string{"--credentials 100001"}},
		"too short a lifetime": {func(c *solo.DevConfig) { c.Lifetime = time.Second }, []string{"--lifetime 1s"}},
		"unknown rotation":     {func(c *solo.DevConfig) { c.Rotation = "x" }, []string{`--rotation "x"`}},
		"no such port":         {func(c *solo.DevConfig) { c.Port = 65536 }, []string{"--nats-port 65536"}},
		"no such auth port":    {func(c *solo.DevConfig) { c.AuthPort = -1 }, []string{"--auth-port -1"}},
		"backwards":            {func(c *solo.DevConfig) { c.For = -1 }, []string{"--for -1ns"}},
		"all at once":          {func(c *solo.DevConfig) { *c = solo.DevConfig{} }, []string{"--credentials", "--lifetime", "--rotation"}},
	} {
		var out bytes.Buffer
		cfg := devConfig(&out)
		c.change(&cfg)
		err := solo.Dev(t.Context(), cfg)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", name, err, want)
			}
		}
	}
}

func TestRunKeepsItsStoreToItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ready := make(chan string, 1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- solo.Run(ctx, solo.RunConfig{StoreDir: dir, Ready: func(env, _ string) { ready <- env }})
	}()
	var env string
	select {
	case env = <-ready:
	case err := <-ended:
		t.Fatalf("run: %v", err)
	}
	if info, err := os.Stat(env); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("environment file: %v, %v; want mode 0600", info, err)
	}
	if err := solo.Run(ctx, solo.RunConfig{StoreDir: dir}); !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second run on the store: %v; want ErrInUse and the directory", err)
	}
	if _, err := os.Stat(env); err != nil {
		t.Errorf("the second run took the first one's environment file away: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := os.Stat(env); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the environment file outlives the process: %v", err)
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = solo.Run(t.Context(), solo.RunConfig{StoreDir: t.TempDir(), Port: l.Addr().(*net.TCPAddr).Port})
	if !errors.Is(err, embedded.ErrPortTaken) {
		t.Errorf("taken port: %v", err)
	}
	err = solo.Run(t.Context(), solo.RunConfig{Port: -1})
	if err == nil || !strings.Contains(err.Error(), "--store") || !strings.Contains(err.Error(), "--nats-port -1") {
		t.Errorf("no store and no such port: %v; want both said", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := solo.Run(cancelled, solo.RunConfig{StoreDir: t.TempDir()}); err != nil {
		t.Errorf("cancelled before it runs: %v", err)
	}
}

// words is a log that is waited for.
type words chan string

func (w words) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

func (w words) await(t *testing.T, texts ...string) {
	t.Helper()
	for late := time.After(30 * time.Second); ; {
		select {
		case line := <-w:
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				return
			}
		case <-late:
			t.Fatalf("the log has no line with %q", texts)
		}
	}
}

// issuerOutOfOrder is an authorization server that answers 502 until up is set.
func issuerOutOfOrder(t *testing.T) (srv *httptest.Server, up *atomic.Bool) {
	t.Helper()
	auth := authserver.New(authserver.Config{})
	up = new(atomic.Bool)
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if up.Load() {
			auth.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(srv.Close)
	return srv, up
}

// TestRunStartsWithoutAnIssuer: one provider whose issuer is out of order keeps no other from starting, and comes when it answers.
func TestRunStartsWithoutAnIssuer(t *testing.T) {
	t.Parallel()
	srv, up := issuerOutOfOrder(t)
	define := func(name string) provider.Definition {
		return provider.Definition{Name: name, Issuer: srv.URL, ClientID: "dev", ClientSecrets: []seal.Secret{seal.NewSecret("x")}, AuthStyle: provider.AuthBasic}
	}
	whole := define("whole")
	whole.TokenURL = srv.URL + "/token"
	log, ready := make(words, 1000), make(chan string, 1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- solo.Run(ctx, solo.RunConfig{
			StoreDir: t.TempDir(), Providers: []provider.Definition{define("acme"), whole}, Log: zerolog.New(log),
			Ready: func(env, _ string) { ready <- env },
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("run: %v", err)
	}
	log.await(t, "acme", "cannot start yet")
	up.Store(true)
	log.await(t, "acme", "it is applied")
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

// TestAPauseKeepsNoProviderFromItsDefinition: while the issuer of a new definition is out of order, the lane of the old one is paused.
func TestAPauseKeepsNoProviderFromItsDefinition(t *testing.T) {
	t.Parallel()
	srv, up := issuerOutOfOrder(t)
	old := provider.Definition{Name: "acme", TokenURL: srv.URL + "/token", ClientID: "dev", AuthStyle: provider.AuthNone}
	changed := provider.Definition{Name: "acme", Issuer: srv.URL, ClientID: "dev", AuthStyle: provider.AuthNone}
	dir := t.TempDir()
	run := func(d provider.Definition, meanwhile func(log words, env string)) {
		log, ready := make(words, 1000), make(chan string, 1)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- solo.Run(ctx, solo.RunConfig{
				StoreDir: dir, Providers: []provider.Definition{d}, Log: zerolog.New(log), Ready: func(env, _ string) { ready <- env },
			})
		}()
		select {
		case env := <-ready:
			meanwhile(log, env)
		case err := <-ended:
			t.Fatalf("run: %v", err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	run(old, func(words, string) {})
	run(changed, func(log words, env string) {
		log.await(t, "acme", "cannot start yet")
		text, err := os.ReadFile(env)
		if err != nil {
			t.Fatal(err)
		}
		url, _, _ := strings.Cut(strings.SplitAfter(string(text), "NATS_URL='")[1], "'")
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		b, err := broker.New(nc, broker.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator:eve"}); err != nil {
			t.Fatal(err)
		}
		up.Store(true)
		log.await(t, "acme", "it is applied")
	})
}

func TestRunRefusesHalfAPairOfKeysets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "keys", "grant.keyset.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the store is free again after the first refusal
		if err := solo.Run(t.Context(), solo.RunConfig{StoreDir: dir}); err == nil || !strings.Contains(err.Error(), "one of two is missing") {
			t.Fatalf("half a pair of keysets: %v", err)
		}
	}
}

func TestQuotedWordsReachTheShellAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"plain", "with blanks", "it's", `"double"`, `$HOME and $(pwd)`, "a\nb", `back\slash`, ""} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+solo.Quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q arrives as %q (%v)", word, out, err)
		}
	}
}
