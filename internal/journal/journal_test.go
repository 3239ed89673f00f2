package journal_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
)

func TestAnEntryIsPendingUntilItsFateIsKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Config{})
	for _, id := range []string{"a", "b", "c", "d"} {
		must(t, j.Append(entry(id)))
	}
	must(t, j.Committed("b", 7))
	must(t, j.Retire("c"))
	must(t, j.SetAside("d", "too late"))
	check := func(j *journal.Journal) {
		t.Helper()
		wantIDs(t, "pending", j.Pending(), "a")
		wantIDs(t, "recent", slices.Collect(j.Recent()), "b")
		if r := slices.Collect(j.Recent())[0]; r.Revision != 7 || time.Since(r.Committed) > time.Minute {
			t.Errorf("recent entry has revision %d, commit %v", r.Revision, r.Committed)
		}
		for id, want := range map[string]bool{"a": true, "b": true, "c": false, "d": false, "e": false} {
			if j.Has(id) != want {
				t.Errorf("has %s: %t", id, !want)
			}
		}
		all, err := j.Aside()
		must(t, err)
		if len(all) != 1 || all[0].ID != "d" || all[0].Reason != "too late" || all[0].AsideAt.IsZero() || all[0].Unreadable() {
			t.Errorf("aside: %+v", all)
		}
		if s := j.Stats(); s.Pending != 1 || s.Recent != 1 || s.Aside != 1 || s.Unreadable != 0 {
			t.Errorf("stats: %+v", s)
		}
	}
	check(j)
	mustClose(t, j)
	check(mustOpen(t, dir, journal.Config{}))
}

func TestPendingIsInOrderAndWhatItReturnsIsACopy(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, t.TempDir(), journal.Config{})
	want := []string{}
	for i := range 50 {
		id := fmt.Sprint("id", i)
		e := entry(id)
		must(t, j.Append(e))
		clear(e.Data)
		want = append(want, id)
	}
	clear(j.Pending()[3].Data)
	wantIDs(t, "pending", j.Pending(), want...)
}

func TestACommitCanBeRepeated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Config{})
	must(t, j.Append(entry("a")))
	must(t, j.Committed("a", 7))
	must(t, j.Committed("a", 9))
	mustClose(t, j)
	j = mustOpen(t, dir, journal.Config{})
	if r := slices.Collect(j.Recent()); len(r) != 1 || r[0].Revision != 9 {
		t.Errorf("recent: %+v", r)
	}
}

func TestANegativeKeepForKeepsNothing(t *testing.T) {
	t.Parallel()
	j := mustOpen(t, t.TempDir(), journal.Config{KeepFor: -1})
	must(t, j.Append(entry("a")))
	must(t, j.Committed("a", 7))
	wantIDs(t, "recent", slices.Collect(j.Recent()))
	if j.Has("a") {
		t.Error("what is kept no longer is there")
	}
}

func TestAnAppendAgainReplaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Config{})
	must(t, j.Append(journal.Entry{ID: "a", Data: []byte("first")}))
	must(t, j.Append(entry("a")))
	wantIDs(t, "pending", j.Pending(), "a")
	if s := j.Stats(); s.Pending != 1 || s.LiveBytes >= s.Bytes {
		t.Errorf("the first still counts: %+v", s)
	}
	mustClose(t, j)
	wantIDs(t, "after reopening", mustOpen(t, dir, journal.Config{}).Pending(), "a")
}

func TestCallsThatCannotBeServed(t *testing.T) {
	t.Parallel()
	open := mustOpen(t, t.TempDir(), journal.Config{})
	closed := mustOpen(t, t.TempDir(), journal.Config{})
	must(t, closed.Append(entry("a")))
	mustClose(t, closed)
	mustClose(t, closed)
	for name, c := range map[string]struct {
		got, want error
	}{
		"committed, unknown": {open.Committed("x", 1), journal.ErrUnknown},
		"retire, unknown":    {open.Retire("x"), journal.ErrUnknown},
		"set aside, unknown": {open.SetAside("x", "late"), journal.ErrUnknown},
		"append, closed":     {closed.Append(entry("b")), journal.ErrClosed},
		"committed, closed":  {closed.Committed("a", 1), journal.ErrClosed},
		"set aside, closed":  {closed.SetAside("a", "late"), journal.ErrClosed},
		"writable, closed":   {closed.Writable(), journal.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantError(t, c.got, c.want)
		})
	}
	if err := open.Append(journal.Entry{Data: []byte("x")}); err == nil {
		t.Error("an entry without an id was taken")
	}
	if err := open.Append(journal.Entry{ID: "big", Data: make([]byte, 9<<20)}); err == nil {
		t.Error("an entry that no reader would accept was taken")
	}
	must(t, open.Writable())
}

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := journal.Open(t.TempDir(), journal.Config{SyncAfter: -1, MaxBytes: -1})
	if err == nil || !strings.Contains(err.Error(), "SyncAfter") || !strings.Contains(err.Error(), "MaxBytes") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheOwnerMayLook(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "journal")
	j := mustOpen(t, dir, journal.Config{})
	must(t, j.Append(entry("a")))
	must(t, j.SetAside("a", "late"))
	wantMode := func(path string, want fs.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", path, got, want)
		}
	}
	wantMode(dir, 0o700)
	files, err := os.ReadDir(dir)
	must(t, err)
	if len(files) != 4 {
		t.Errorf("got files %v", files)
	}
	for _, f := range files {
		wantMode(filepath.Join(dir, f.Name()), 0o600)
	}
}

func TestASecondOpenIsRefusedWithTheHoldersName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := mustOpen(t, dir, journal.Config{})
	_, err := journal.Open(dir, journal.Config{})
	wantError(t, err, journal.ErrLocked)
	for _, part := range []string{filepath.Join(dir, "journal.lock"), fmt.Sprint("process ", os.Getpid()), "stop it or use another"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	mustClose(t, j)
	mustOpen(t, dir, journal.Config{})
}

func TestADirectoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	must(t, os.Chmod(filepath.Dir(base), 0o755))
	dir := filepath.Join(base, "state")
	must(t, os.Mkdir(dir, 0o500))
	for name, c := range map[string]struct{ dir, want string }{
		"it is read-only":        {dir, "the directory must be writable by this user"},
		"it cannot be made":      {filepath.Join(dir, "journal"), "name a place where this user may create it"},
		"a file is in its place": {filepath.Join(base, "file"), "name a place where this user may create it"},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(filepath.Join(base, "file"), nil, 0o600))
			var err error
			asOrdinaryUser(t, dir, func() { _, err = journal.Open(c.dir, journal.Config{}) })
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.dir) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTheBoundIsAnnouncedBeforeItIsReached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const bound = 64 << 10
		j := mustOpen(t, t.TempDir(), journal.Config{MaxBytes: bound})
		big := func(i int) journal.Entry { return journal.Entry{ID: fmt.Sprint(i), Data: make([]byte, 1000)} }
		var warned, refused int
		for i := 0; refused == 0; i++ {
			if err := j.Writable(); err != nil && warned == 0 {
				wantError(t, err, journal.ErrFull)
				warned = i
			}
			if err := j.Append(big(i)); err != nil {
				wantError(t, err, journal.ErrFull)
				refused = i
			}
		}
		if room := refused - warned; warned == 0 || room < 7 {
			t.Errorf("warned at entry %d, refused at %d: too little room between", warned, refused)
		}
		if s := j.Stats(); s.Bytes > bound || s.Bytes < bound-2000 {
			t.Errorf("the log has %d bytes", s.Bytes)
		}
		for i := range refused {
			must(t, j.Retire(fmt.Sprint(i)))
		}
		synctest.Wait() // for the turn
		must(t, j.Writable())
		must(t, j.Append(big(refused)))
	})
}
