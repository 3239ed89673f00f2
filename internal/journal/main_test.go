package journal_test

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/journal"
)

// TestMain doubles as the child process that some tests start and kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		appendUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// mustOpen opens a journal that is closed when the test ends.
func mustOpen(t *testing.T, dir string, cfg journal.Config) *journal.Journal {
	t.Helper()
	j, err := journal.Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, j) })
	return j
}

// must fails the test on an error, as in must(t, j.Append(e)).
func must(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustClose(t *testing.T, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// entry is one whose data follow from its id, so that a mix-up shows.
func entry(id string) journal.Entry {
	return journal.Entry{ID: id, Key: "acme/" + id, Data: bytes.Repeat([]byte(id+"|"), 3+len(id)%5)}
}

// ids returns the ids and checks that each entry is what entry made of its id.
func ids(t rapid.TB, entries []journal.Entry) []string {
	t.Helper()
	found := []string{}
	for _, e := range entries {
		want := entry(e.ID)
		if e.Key != want.Key || !bytes.Equal(e.Data, want.Data) {
			t.Fatalf("entry %q came back as key %q, data %q", e.ID, e.Key, e.Data)
		}
		if e.At.IsZero() {
			t.Fatalf("entry %q has no time", e.ID)
		}
		found = append(found, e.ID)
	}
	return found
}

func wantIDs(t rapid.TB, what string, entries []journal.Entry, want ...string) {
	t.Helper()
	if got := ids(t, entries); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func wantError(t rapid.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("got error %v, want %v", got, want)
	}
}

// aside returns the ids of the entries set aside and the bytes of the unreadable stretches.
func aside(t rapid.TB, j *journal.Journal) (entries []string, stretches [][]byte) {
	t.Helper()
	all, err := j.Aside()
	must(t, err)
	var real []journal.Entry
	for _, a := range all {
		if a.Unreadable() {
			stretches = append(stretches, a.Data)
		} else {
			real = append(real, a.Entry)
		}
	}
	return ids(t, real), stretches
}

// copyOf copies a journal's directory: what a kill -9 at this moment would leave.
func copyOf(t rapid.TB, dir string) string {
	t.Helper()
	to, err := os.MkdirTemp(filepath.Dir(dir), "copy")
	must(t, err)
	for _, name := range logs(t, dir) {
		if b, err := os.ReadFile(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) { // a turn may be under way
			must(t, err)
			must(t, os.WriteFile(filepath.Join(to, name), b, 0o600))
		}
	}
	return to
}

// logs returns the names of a journal's segments, oldest first, and of its other logs.
func logs(t rapid.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.log*"))
	must(t, err)
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return paths
}

// sizeOf returns what a journal's segments measure.
func sizeOf(t rapid.TB, dir string) (size int64) {
	t.Helper()
	for _, name := range logs(t, dir) {
		if strings.HasPrefix(name, "journal") {
			info, err := os.Stat(filepath.Join(dir, name))
			must(t, err)
			size += info.Size()
		}
	}
	return size
}
