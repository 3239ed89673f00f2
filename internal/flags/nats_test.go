package flags_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/flags"
)

// guarded starts a server that wants the user "u" with the password "right".
func guarded(t *testing.T) (hostPort string) {
	t.Helper()
	s, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), User: "u", Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return "127.0.0.1:" + s.Port()
}

// context writes a context of the nats command line.
func context(t *testing.T, settings map[string]any) string {
	t.Helper()
	data, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "it.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConnect(t *testing.T) {
	t.Parallel()
	at := guarded(t)
	for name, c := range map[string]struct {
		nats flags.NATS
		want error
	}{
		"user and password":           {flags.NATS{Server: at, User: "u", Password: "right"}, nil},
		"user in the address":         {flags.NATS{Server: "nats://u:right@" + at}, nil},
		"wrong password":              {flags.NATS{Server: at, User: "u", Password: "wrong"}, nats.ErrAuthorization},
		"a token where none is taken": {flags.NATS{Server: at, User: "u"}, nats.ErrAuthorization},
		"second of two servers":       {flags.NATS{Server: "127.0.0.1:1, " + at, User: "u", Password: "right"}, nil},
		"nobody listens":              {flags.NATS{Server: "127.0.0.1:1"}, nats.ErrNoServers},
		"a context":                   {flags.NATS{Context: context(t, map[string]any{"url": at, "user": "u", "password": "right"})}, nil},
		"a flag over the context":     {flags.NATS{Context: context(t, map[string]any{"url": at, "user": "u", "password": "wrong"}), User: "u", Password: "right"}, nil},
		"a context, nobody listens":   {flags.NATS{Context: context(t, map[string]any{"url": "127.0.0.1:1"})}, nats.ErrNoServers},
		"an inbox prefix":             {flags.NATS{Server: at, User: "u", Password: "right", InboxPrefix: "_IN.me"}, nil},
		"a credentials file, missing": {flags.NATS{Server: at, Creds: "/nonexistent"}, os.ErrNotExist},
		"an nkey file, missing":       {flags.NATS{Server: at, NKey: "/nonexistent"}, os.ErrNotExist},
		"a CA file, missing":          {flags.NATS{Server: at, TLSCA: "/nonexistent"}, os.ErrNotExist},
	} {
		nc, err := c.nats.Connect("test")
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err == nil {
			nc.Close()
		}
	}
}

func TestAContextSaysWhereJetStreamIs(t *testing.T) {
	t.Parallel()
	at := guarded(t)
	settings := map[string]any{"url": at, "user": "u", "password": "right", "jetstream_domain": "hub"}
	for name, c := range map[string]struct {
		nats           flags.NATS
		domain, prefix string
	}{
		"from the context":        {flags.NATS{Context: context(t, settings)}, "hub", ""},
		"a flag goes first":       {flags.NATS{Context: context(t, settings), JSDomain: "leaf"}, "leaf", ""},
		"a prefix instead of one": {flags.NATS{Context: context(t, settings), JSAPIPrefix: "$JS.x.API"}, "", "$JS.x.API"},
	} {
		nc, err := c.nats.Connect("test")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		nc.Close()
		if c.nats.JSDomain != c.domain || c.nats.JSAPIPrefix != c.prefix {
			t.Errorf("%s: domain %q, prefix %q; want %q, %q", name, c.nats.JSDomain, c.nats.JSAPIPrefix, c.domain, c.prefix)
		}
	}
}

func TestAContextByName(t *testing.T) { // not parallel: the environment is one
	at, home := guarded(t), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	file := context(t, map[string]any{"url": "nats://" + at, "user": "u", "password": "right"})
	dir := filepath.Join(home, "nats", "context")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Rename(file, filepath.Join(dir, "staging.json"))); err != nil {
		t.Fatal(err)
	}
	nc, err := (&flags.NATS{Context: "staging"}).Connect("test")
	if err != nil {
		t.Fatalf("connect by the context's name: %v", err)
	}
	nc.Close()
	if _, err := (&flags.NATS{Context: "nowhere"}).Connect("test"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("unknown context: %v", err)
	}
}

func TestContradictionsAreAllReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		nats flags.NATS
		want []string
	}{
		"nothing said":               {flags.NATS{}, nil},
		"a context and a server":     {flags.NATS{Context: "x", Server: "a:1"}, []string{"--context or --server", "NATS_CONTEXT or NATS_URL"}},
		"a password without a user":  {flags.NATS{Password: "p"}, []string{"--user"}},
		"credentials and an nkey":    {flags.NATS{Creds: "c", NKey: "n"}, []string{"--creds or --nkey"}},
		"a certificate without key":  {flags.NATS{TLSCert: "c"}, []string{"--tlscert and --tlskey"}},
		"a key without certificate":  {flags.NATS{TLSKey: "c"}, []string{"--tlscert and --tlskey"}},
		"a domain and a prefix":      {flags.NATS{JSDomain: "d", JSAPIPrefix: "p"}, []string{"--js-domain or --js-api-prefix"}},
		"a negative timeout":         {flags.NATS{Timeout: -1}, []string{"--timeout"}},
		"an address without a host":  {flags.NATS{Server: "nats://"}, []string{"NATS server 1 of 1"}},
		"an address of another kind": {flags.NATS{Server: "http://a"}, []string{"NATS server 1 of 1"}},
		"one of three addresses":     {flags.NATS{Server: "a:1,nats://b:x,tls://c"}, []string{"NATS server 2 of 3"}},
		"several at once":            {flags.NATS{Password: "p", TLSKey: "k", Server: "a:b"}, []string{"--user", "--tlscert", "NATS server 1 of 1"}},
	} {
		err := c.nats.Validate()
		if (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range c.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", name, err, want)
			}
		}
	}
}

func TestNoErrorShowsAPassword(t *testing.T) {
	t.Parallel()
	for _, n := range []flags.NATS{
		{Server: "nats://user:canary@127.0.0.1:1"},
		{Server: "nats://user:canary@127.0.0.1:port"},
		{Server: "nats://user:ca/canary@127.0.0.1:1"},
		{Server: "nats://user:%canary@127.0.0.1:1"},
		{Server: "nats://user:a,canary@127.0.0.1:1"},
		{Server: "user:canary"},
		{Server: "127.0.0.1:1", User: "user", Password: "canary"},
		{Context: context(t, map[string]any{"url": "nats://user:canary@127.0.0.1:port"})},
		{Context: context(t, map[string]any{"url": "nats://user:canary@127.0.0.1:1"})},
	} {
		_, err := n.Connect("test")
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("server %q context %q: %v; want an error without the password", n.Server, n.Context, err)
		}
	}
}

func TestWhere(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]string{
		"":                            "nats://127.0.0.1:4222",
		"nats://u:p@a:1":              "nats://a:1",
		"u:p@a:1,tls://b:2":           "nats://a:1,tls://b:2",
		"nats://u:p@ss@a:1, ws://v@b": "nats://a:1,ws://b",
		"connect.example.com":         "nats://connect.example.com",
	} {
		if got := (&flags.NATS{Server: server}).Where(); got != want {
			t.Errorf("Where of %q is %q, want %q", server, got, want)
		}
	}
	if got := (&flags.NATS{Context: "staging"}).Where(); got != "context staging" {
		t.Errorf("Where of a context is %q", got)
	}
}
