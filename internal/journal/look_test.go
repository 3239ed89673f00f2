package journal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
)

// A journal is looked at while its owner is at work, and afterwards; it stays as it is, and its owner's.
func TestLookSeesWhatIsPendingAndSetAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Config{})
	must(t, err)
	before := time.Now()
	for _, id := range []string{"pending", "later", "committed", "aside", "gone"} {
		must(t, j.Append(journal.Entry{ID: id, Key: "acme." + id, Data: []byte("sealed")}))
	}
	must(t, j.Committed("committed", 7))
	must(t, j.SetAside("aside", "too late"))
	must(t, j.Retire("gone"))
	for _, held := range []bool{true, false} {
		s, err := journal.Look(dir)
		must(t, err)
		if s.Pending != 2 || s.Aside != 1 || s.Unreadable != 0 || s.Oldest.Before(before.Add(-time.Second)) || (s.Holder != "") != held {
			t.Errorf("held %v: %+v", held, s)
		}
		if held {
			must(t, j.Close())
		}
	}
	j, err = journal.Open(dir, journal.Config{}) // nothing was kept locked
	must(t, err)
	must(t, j.Close())
}

func TestLookSeesDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Config{})
	must(t, err)
	must(t, j.Append(journal.Entry{ID: "pending", Data: []byte("sealed")}))
	must(t, j.Close())
	log := filepath.Join(dir, "journal.log")
	data, err := os.ReadFile(log)
	must(t, err)
	must(t, os.WriteFile(log, append([]byte("damage"), data...), 0o600))
	if s, err := journal.Look(dir); err != nil || s.Pending != 1 || s.Unreadable != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestLookSaysThatThereIsNoJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := journal.Look(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("looking left %v, %v", left, err)
	}
}
