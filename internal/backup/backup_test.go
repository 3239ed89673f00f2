package backup_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/backup"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// house is a broker on a NATS server of its own.
func house(t *testing.T, names events.Names) *broker.Broker {
	t.Helper()
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(natstest.Run(t, natstest.Options{})))...)
	must(t, err)
	t.Cleanup(nc.Close)
	b, err := broker.New(nc, broker.Config{Names: names})
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill stores records that do not become smaller.
func fill(t *testing.T, b *broker.Broker, n, size int) {
	t.Helper()
	_, err := b.Setup(t.Context(), broker.SetupConfig{})
	must(t, err)
	for i := range n {
		r := refresh.Record{
			V: 1, Provider: "acme", Account: fmt.Sprintf("user-%d", i), GrantID: refresh.NewGrantID(), Generation: 1, Version: 1,
			State: refresh.StateActive, Grant: make([]byte, size),
		}
		_, _ = rand.Read(r.Grant)
		_, err := b.Put(t.Context(), refresh.Write{Record: r})
		must(t, err)
	}
}

func records(t *testing.T, b *broker.Broker) map[string]refresh.Stored {
	t.Helper()
	all := make(map[string]refresh.Stored)
	must(t, b.Records(t.Context(), "", func(s refresh.Stored, err error) error {
		all[s.Record.Account] = s
		return err
	}))
	return all
}

// A snapshot that is larger than what may be on its way at once arrives whole, revisions and time stamps included.
func TestALargeBackupIsWhole(t *testing.T) {
	t.Parallel()
	b := house(t, events.Names{})
	fill(t, b, 1500, 4<<10)
	dir := filepath.Join(t.TempDir(), "kept")
	told := int64(0)
	m, err := backup.Take(t.Context(), b, dir, func(bytes int64) { told = bytes })
	must(t, err)
	if told != m.Tokens.Bytes+m.Providers.Bytes {
		t.Errorf("told of %d bytes, wrote %d and %d", told, m.Tokens.Bytes, m.Providers.Bytes)
	}
	if m.Tokens.Messages != 1500 || m.Tokens.Bytes < 6<<20 || m.Providers.Messages != 0 {
		t.Errorf("kept %+v", m)
	}
	read, err := backup.ReadManifest(dir)
	if err != nil || read != m {
		t.Errorf("the manifest reads as %+v, %v", read, err)
	}
	own := house(t, events.Names{})
	must(t, backup.Open(t.Context(), m, dir, own))
	if got, want := records(t, own), records(t, b); !reflect.DeepEqual(got, want) {
		t.Errorf("%d records came back of %d, or they differ", len(got), len(want))
	}
}

func TestWhatIsNotABackupIsRefused(t *testing.T) {
	t.Parallel()
	names, err := events.NewNames("other")
	must(t, err)
	b, own := house(t, events.Names{}), house(t, events.Names{})
	fill(t, b, 3, 100)
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		own   *broker.Broker
	}{
		"a backup that broke off":  {func(dir string) error { return os.Remove(filepath.Join(dir, "backup.json")) }, own},
		"half a file":              {func(dir string) error { return os.Truncate(filepath.Join(dir, "tokens.snapshot"), 100) }, own},
		"a file is gone":           {func(dir string) error { return os.Remove(filepath.Join(dir, "providers.snapshot")) }, own},
		"of another namespace":     {func(string) error { return nil }, house(t, names)},
		"a manifest to come":       {rewrite(`{"v":2,"taken_at":"2026-03-02T12:00:00Z"}`), own},
		"a manifest without sense": {rewrite(`{`), own},
	} {
		dir := filepath.Join(t.TempDir(), "kept")
		_, err := backup.Take(t.Context(), b, dir, nil)
		must(t, err)
		must(t, tt.spoil(dir))
		m, err := backup.ReadManifest(dir)
		if err == nil {
			err = backup.Open(t.Context(), m, dir, tt.own)
		}
		if !errors.Is(err, backup.ErrBackup) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func rewrite(text string) func(string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, "backup.json"), []byte(text), 0o600) }
}

func TestABackupNeedsBuckets(t *testing.T) {
	t.Parallel()
	if _, err := backup.Take(t.Context(), house(t, events.Names{}), filepath.Join(t.TempDir(), "kept"), nil); !errors.Is(err, broker.ErrNotSetUp) {
		t.Errorf("without a bucket: %v", err)
	}
}
