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

// The journal of a worker at work is read from outside, and is as it was.
func TestReadLooksIntoAnOpenJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Config{KeepFor: time.Hour})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(err)
	for _, id := range []string{"pending", "recent", "aside", "gone"} {
		check(j.Append(journal.Entry{ID: id, Key: "acme." + id, Data: []byte("sealed " + id)}))
	}
	check(j.Committed("recent", 7))
	check(j.SetAside("aside", "too late"))
	check(j.Retire("gone"))
	before, err := os.ReadFile(filepath.Join(dir, "journal.log"))
	check(err)

	got, err := journal.Read(dir, time.Hour)
	check(err)
	if len(got.Pending) != 1 || got.Pending[0].ID != "pending" || string(got.Pending[0].Data) != "sealed pending" {
		t.Errorf("pending: %+v", got.Pending)
	}
	if len(got.Recent) != 1 || got.Recent[0].ID != "recent" || got.Recent[0].Revision != 7 {
		t.Errorf("recent: %+v", got.Recent)
	}
	if len(got.Aside) != 1 || got.Aside[0].ID != "aside" || string(got.Aside[0].Data) != "sealed aside" {
		t.Errorf("aside: %+v", got.Aside)
	}
	if over, err := journal.Read(dir, -1); err != nil || len(over.Recent) != 0 || len(over.Pending) != 1 {
		t.Errorf("with nothing kept: %+v, %v", over, err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "journal.log"))
	check(err)
	if string(after) != string(before) {
		t.Error("reading has changed the log")
	}
	check(j.Close())
}

func TestReadSaysThatThereIsNoJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := journal.Read(dir, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("reading left %v, %v", left, err)
	}
}
