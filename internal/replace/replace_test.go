package replace_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/replace"
)

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestFileLeavesNothingBesideIt(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"token", strings.Repeat("n", 255)} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		for _, content := range []string{"old", "new"} {
			if err := replace.File(path, []byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 || info.Size() != 3 {
			t.Errorf("%v, %v", info, err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{name}) {
			t.Errorf("there is %q", got)
		}
	}
}

func TestCleanRemovesWhatTheDeadHaveLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{
		".freshet-token.1.tmp": time.Hour, ".freshet-token.2.tmp": time.Second, ".freshet-token.due": time.Hour,
		".freshet-other.3.tmp": time.Hour, "token": time.Hour, "token.4.tmp": time.Hour,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := replace.Clean(filepath.Join(dir, "token"), now); err != nil {
		t.Fatal(err)
	}
	want := []string{".freshet-other.3.tmp", ".freshet-token.2.tmp", ".freshet-token.due", "token", "token.4.tmp"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	if err := replace.Clean(filepath.Join(dir, "nosuch", "token"), now); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
}
