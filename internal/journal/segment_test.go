package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
)

const removeLog = "remove journal.log"

// fillSegments opens a journal whose segments are small and keeps n entries in it, with one that stays pending and one
// that is retired in a later segment than it was appended to.
func fillSegments(t *testing.T, dir string, n int) (*journal.Journal, *testDisk) {
	t.Helper()
	j, d := openTested(t, dir, journal.Config{MaxBytes: 64 << 10})
	must(t, j.Append(entry("pending")))
	must(t, j.Append(entry("retired")))
	for i := range n {
		id := fmt.Sprint("e", i)
		must(t, j.Append(entry(id)))
		must(t, j.Committed(id, uint64(i+1)))
		synctest.Wait()
	}
	must(t, j.Retire("retired"))
	return j, d
}

func wantKept(t *testing.T, j *journal.Journal, n int) {
	t.Helper()
	wantIDs(t, "pending", j.Pending(), "pending")
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint("e", i))
	}
	recent := slices.Collect(j.Recent())
	wantIDs(t, "recent", recent, want...)
	for i, e := range recent {
		if e.Revision != uint64(i+1) || !j.Has(e.ID) {
			t.Errorf("%s has revision %d", e.ID, e.Revision)
		}
	}
}

func TestRecentEntriesAreReadBackFromManySegments(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, _ := fillSegments(t, dir, 300)
		if got := logs(t, dir); len(got) < 5 {
			t.Fatalf("segments: %q", got)
		}
		wantKept(t, j, 300)
		copied, _ := openTested(t, copyOf(t, dir), journal.Config{})
		wantKept(t, copied, 300)
		must(t, copied.Committed("e7", 8)) // again
		must(t, copied.Retire("e9"))
		must(t, copied.SetAside("e11", "forgotten"))
		if s := copied.Stats(); s.Recent != 298 || s.Aside != 1 || copied.Has("e9") || copied.Has("e11") {
			t.Errorf("%+v", s)
		}
	})
}

func TestASegmentGoesWhenAllInItIsOldEnough(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, d := fillSegments(t, dir, 300)
		pass(149 * time.Second)
		wantKept(t, j, 300)
		pass(time.Second)
		must(t, j.Writable())
		synctest.Wait()
		left := logs(t, dir)
		if d.count(removeLog) < 3 || sizeOf(t, dir) > 16<<10 {
			t.Errorf("left: %q, %d bytes", left, sizeOf(t, dir))
		}
		if s := j.Stats(); s.Bytes != sizeOf(t, dir) || s.Recent != 0 {
			t.Errorf("%+v, and the files have %d bytes", s, sizeOf(t, dir))
		}
		copied, _ := openTested(t, copyOf(t, dir), journal.Config{})
		wantKept(t, copied, 0)
	})
}

func TestASegmentThatCannotBeRemovedStopsNothing(t *testing.T) {
	for _, how := range []fault{failsBefore, failsAfter} {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				dir := t.TempDir()
				j, d := fillSegments(t, dir, 200)
				d.set(on(how, removeLog))
				pass(150 * time.Second)
				must(t, j.Writable())
				synctest.Wait()
				must(t, j.Append(entry("new")))
				copied, _ := openTested(t, copyOf(t, dir), journal.Config{})
				wantIDs(t, "pending after a kill", copied.Pending(), "pending", "new")
				d.set(nil)
				pass(time.Minute)
				if s := j.Stats(); s.Bytes != sizeOf(t, dir) || s.Bytes > 16<<10 {
					t.Errorf("%+v, and the files have %d bytes", s, sizeOf(t, dir))
				}
			})
		})
	}
}

func TestARecentEntryThatCannotBeReadBackCostsOnlyItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		var told []error
		j, d := openTested(t, dir, journal.Config{OnError: func(err error) { told = append(told, err) }})
		for _, id := range []string{"a", "b", "c"} {
			must(t, j.Append(entry(id)))
			must(t, j.Committed(id, 1))
		}
		log, err := os.ReadFile(filepath.Join(dir, logName))
		must(t, err)
		log[recordStarts(log)[2]+20] ^= 1 // in b
		must(t, os.WriteFile(filepath.Join(dir, logName), log, 0o600))
		for range 2 {
			wantIDs(t, "recent", slices.Collect(j.Recent()), "a", "c")
		}
		if s := j.Stats(); s.Recent != 3 || s.Unread != 2 || len(told) != 1 || !j.Has("b") {
			t.Errorf("%+v, told %v", s, told)
		}
		if err := j.SetAside("b", "forgotten"); err == nil || !strings.Contains(err.Error(), "read back") {
			t.Errorf("got %v", err)
		}
		must(t, j.Committed("b", 2))
		must(t, j.Retire("b"))
		d.set(on(failsBefore, readLog))
		wantIDs(t, "recent", slices.Collect(j.Recent()), []string{}...)
		wantError(t, j.SetAside("a", "forgotten"), syscall.ENOSPC)
		d.set(nil)
		wantIDs(t, "recent", slices.Collect(j.Recent()), "a", "c")
		must(t, j.Writable())
	})
}

func TestALogFullOfRecentEntriesRefusesUntilTheOldestGo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		j, _ := openTested(t, t.TempDir(), journal.Config{MaxBytes: 64 << 10})
		kept := 0
		for ; j.Writable() == nil; kept++ {
			must(t, j.Append(entry(fmt.Sprint(kept))))
			must(t, j.Committed(fmt.Sprint(kept), 1))
			pass(100 * time.Millisecond)
		}
		wantError(t, j.Writable(), journal.ErrFull)
		if s := j.Stats(); s.Recent != kept || s.Bytes > 64<<10 {
			t.Errorf("%d were committed: %+v", kept, s)
		}
		pass(150 * time.Second)
		_ = j.Writable()
		synctest.Wait()
		must(t, j.Writable())
		must(t, j.Append(entry("new")))
	})
}

// One segment of several is damaged: what is in the others, and what is whole in it, stays.
func TestDamageInOneSegmentCostsOnlyTheDamagedRecord(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, _ := fillSegments(t, dir, 300)
		mustClose(t, j)
		for _, name := range logs(t, dir) {
			copied := copyOf(t, dir)
			file := filepath.Join(copied, name)
			log, err := os.ReadFile(file)
			must(t, err)
			if !strings.HasPrefix(name, "journal") || len(log) < 2000 {
				continue
			}
			log[1000] ^= 1
			must(t, os.WriteFile(file, log, 0o600))
			j, _ := openTested(t, copied, journal.Config{})
			s := j.Stats()
			if s.Unreadable != 1 || s.Pending+s.Recent < 300 || s.Pending > 2 {
				t.Errorf("%s: %+v", name, s)
			}
			mustClose(t, j)
			again, _ := openTested(t, copied, journal.Config{OnError: func(err error) { t.Errorf("%s, second start: %v", name, err) }})
			if got := again.Stats(); got.Recent != s.Recent || got.Pending != s.Pending {
				t.Errorf("%s: first %+v, then %+v", name, s, got)
			}
		}
	})
}
