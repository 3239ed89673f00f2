package embedded_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/embedded"
)

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, s *embedded.Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestRestartKeepsWhatWasStored(t *testing.T) {
	t.Parallel()
	for name, sync := range map[string]bool{"synced on every write": true, "synced now and then": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{StoreDir: t.TempDir(), Port: -1, User: "u", Password: "p", SyncEveryWrite: sync}
			first := start(t, cfg)
			kv, err := connect(t, first).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Storage: jetstream.FileStorage})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kv.PutString(t.Context(), "key", "value"); err != nil {
				t.Fatal(err)
			}
			first.Shutdown()

			kv, err = connect(t, start(t, cfg)).KeyValue(t.Context(), "b")
			if err != nil {
				t.Fatalf("open the bucket after a restart: %v", err)
			}
			e, err := kv.Get(t.Context(), "key")
			if err != nil || string(e.Value()) != "value" {
				t.Fatalf("after a restart: %v, %v; want the value", e, err)
			}
		})
	}
}

func TestAStoreBelongsToOneServer(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: filepath.Join(t.TempDir(), "store"), Port: -1}
	first := start(t, cfg)
	if _, err := embedded.Start(cfg); !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), cfg.StoreDir) {
		t.Fatalf("second server on the store: %v; want ErrInUse and the directory's name", err)
	}
	if _, err := connect(t, first).AccountInfo(t.Context()); err != nil {
		t.Fatalf("the first server suffered: %v", err)
	}
	first.Shutdown()
	start(t, cfg)
}

// TestAStoreIsTakenOverFromAProcessOnItsWayOut: whoever starts again right after a kill meets a lock that is about to go.
func TestAStoreIsTakenOverFromAProcessOnItsWayOut(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir(), Port: -1}
	lock := flock.New(filepath.Join(cfg.StoreDir, "lock"))
	if ok, err := lock.TryLock(); !ok || err != nil {
		t.Fatalf("lock the store: %t, %v", ok, err)
	}
	gone := time.AfterFunc(200*time.Millisecond, func() { _ = lock.Unlock() })
	defer gone.Stop()
	start(t, cfg)
}

func TestATakenPortIsSaidAndFreesTheStore(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := embedded.Config{StoreDir: t.TempDir(), Port: l.Addr().(*net.TCPAddr).Port}
	if _, err := embedded.Start(cfg); !errors.Is(err, embedded.ErrPortTaken) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Fatalf("start on a taken port: %v; want ErrPortTaken and the address", err)
	}
	cfg.Port = 0
	start(t, cfg)
}

func TestAStoreThatCannotBeUsedIsSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), []byte("a file where the server wants a directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embedded.Start(embedded.Config{StoreDir: dir, Port: -1})
	if err == nil || !strings.Contains(err.Error(), "JetStream") {
		t.Fatalf("start on a store that is no directory: %v; want the server's own word", err)
	}
}

func TestThePortWantsThePassword(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{StoreDir: t.TempDir(), User: "freshet", Password: "right"})
	for name, c := range map[string]struct {
		url  string
		want error
	}{
		"its own address":     {s.URL(), nil},
		"no password":         {"nats://127.0.0.1:" + s.Port(), nats.ErrAuthorization},
		"another password":    {"nats://freshet:wrong@127.0.0.1:" + s.Port(), nats.ErrAuthorization},
		"the right one typed": {"nats://freshet:right@127.0.0.1:" + s.Port(), nil},
	} {
		nc, err := nats.Connect(c.url)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err == nil {
			nc.Close()
		}
	}
}

func TestItListensOnLoopbackOnlyOrNowhere(t *testing.T) {
	t.Parallel()
	open := start(t, embedded.Config{StoreDir: t.TempDir()})
	if host, _, err := net.SplitHostPort(strings.TrimPrefix(open.URL(), "nats://")); err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("URL %q: want a loopback address (%v)", open.URL(), err)
	}
	closed := start(t, embedded.Config{StoreDir: t.TempDir(), Port: -1})
	if closed.URL() != "" || closed.Port() != "none" {
		t.Errorf("a server that listens nowhere has URL %q and port %q", closed.URL(), closed.Port())
	}
	nc, err := closed.Connect()
	if err != nil {
		t.Fatalf("connect inside the process: %v", err)
	}
	defer nc.Close()
	if err := nc.Flush(); err != nil {
		t.Errorf("speak inside the process: %v", err)
	}
}

func TestShutdownTwiceIsHarmless(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{StoreDir: t.TempDir(), Port: -1})
	s.Shutdown()
	s.Shutdown()
	if s.Version() == "" {
		t.Error("no version")
	}
}
