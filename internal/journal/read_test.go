package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
)

// read returns what a journal shows, and its entries with their data, in order of their ids.
func read(t *testing.T, dir string) (journal.Sight, []string) {
	t.Helper()
	var found []string
	s, err := journal.Read(dir, func(e journal.Entry) {
		found = append(found, fmt.Sprintf("%s %s %s %d", e.ID, e.Key, e.Data, e.Revision))
	})
	must(t, err)
	slices.Sort(found)
	return s, found
}

// A journal is read while its owner is at work, and afterwards; it stays as it is, and its owner's.
func TestReadSeesWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Config{})
	must(t, err)
	before := time.Now()
	for _, id := range []string{"pending", "later", "recent", "aside", "gone"} {
		must(t, j.Append(journal.Entry{ID: id, Key: "acme." + id, Data: []byte("sealed")}))
	}
	must(t, j.Committed("recent", 7))
	must(t, j.SetAside("aside", "too late"))
	must(t, j.Retire("gone"))
	log, err := os.ReadFile(filepath.Join(dir, "journal.log"))
	must(t, err)
	want := []string{"later acme.later sealed 0", "pending acme.pending sealed 0", "recent acme.recent sealed 7"}
	for _, held := range []bool{true, false} {
		s, found := read(t, dir)
		if s.Pending != 2 || s.Recent != 1 || s.Unreadable != 0 || s.Oldest.Before(before.Add(-time.Second)) || (s.Holder != "") != held {
			t.Errorf("held %v: %+v", held, s)
		}
		if len(s.Aside) != 1 || s.Aside[0].ID != "aside" || string(s.Aside[0].Data) != "sealed" || !slices.Equal(found, want) {
			t.Errorf("held %v: %v, aside %+v", held, found, s.Aside)
		}
		if held {
			after, err := os.ReadFile(filepath.Join(dir, "journal.log"))
			must(t, err)
			if !bytes.Equal(after, log) {
				t.Error("reading has changed the log")
			}
			must(t, j.Close())
		}
	}
	j, err = journal.Open(dir, journal.Config{}) // nothing was kept locked
	must(t, err)
	must(t, j.Close())
}

// What lies in several segments is one journal: what is pending was copied, and marks come behind what they concern.
func TestReadGoesThroughSegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Open(dir, journal.Config{})
	must(t, err)
	large := bytes.Repeat([]byte("x"), 3<<20)
	for i := range 12 {
		id := fmt.Sprint(i)
		must(t, j.Append(journal.Entry{ID: id, Key: "acme." + id, Data: large}))
		if i > 2 {
			must(t, j.Committed(id, uint64(i)))
		}
	}
	must(t, j.Committed("1", 1))
	must(t, j.Retire("2"))
	must(t, j.Close())
	segments, err := filepath.Glob(filepath.Join(dir, "journal*.log"))
	must(t, err)
	if s, found := read(t, dir); len(segments) < 2 || s.Pending != 1 || s.Recent != 10 || len(found) != 11 {
		t.Errorf("%d segments: %d pending, %d recent, %d entries", len(segments), s.Pending, s.Recent, len(found))
	}
}

func TestReadSeesDamage(t *testing.T) {
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
	if s, err := journal.Read(dir, nil); err != nil || s.Pending != 1 || s.Unreadable != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestReadSaysThatThereIsNoJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "nowhere")} {
		if _, err := journal.Read(path, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("read: %v", err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("reading left %v, %v", left, err)
	}
}
