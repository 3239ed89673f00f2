package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
)

const (
	syncLog = "sync journal.log"
	syncTmp = "sync journal.log.tmp"
	readLog = "read journal.log"
)

// openTested opens a journal on a test disk, closed when the test ends.
func openTested(t *testing.T, dir string, cfg journal.Config) (*journal.Journal, *testDisk) {
	t.Helper()
	d := newTestDisk(t, dir)
	j, err := journal.OpenOn(d, dir, cfg)
	must(t, err)
	t.Cleanup(func() { mustClose(t, j) })
	return j, d
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, f)
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAnEntryIsSyncedWhenItsCommitIsLate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		j, d := openTested(t, t.TempDir(), journal.Config{})
		must(t, j.Append(entry("a")))
		pass(time.Second / 2)
		must(t, j.Append(entry("b")))
		pass(time.Second/2 - 1)
		if got := d.count(syncLog); got != 0 {
			t.Errorf("%d syncs too early", got)
		}
		pass(1)
		if got := d.count(syncLog); got != 1 {
			t.Errorf("%d syncs when the first is due, want 1", got)
		}
		pass(time.Hour)
		if got := d.count(syncLog); got != 1 {
			t.Errorf("%d syncs, want 1: the second entry was synced with the first", got)
		}
		must(t, j.Append(entry("c")))
		pass(time.Second)
		if got := d.count(syncLog); got != 2 {
			t.Errorf("%d syncs after another entry, want 2", got)
		}
	})
}

func TestACommitInTimeSavesTheSync(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		j, d := openTested(t, t.TempDir(), journal.Config{SyncAfter: 100 * time.Millisecond})
		for i := range 300 {
			id := fmt.Sprint(i)
			must(t, j.Append(entry(id)))
			pass(99 * time.Millisecond)
			switch i % 3 {
			case 0:
				must(t, j.Committed(id, 1))
			case 1:
				must(t, j.Retire(id))
			case 2:
				must(t, j.SetAside(id, "late"))
			}
		}
		pass(time.Hour)
		if got := d.count(syncLog); got != 0 {
			t.Errorf("%d syncs, want none", got)
		}
	})
}

func TestWithSyncEveryAppendIsSyncedAndNoMark(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		j, d := openTested(t, t.TempDir(), journal.Config{Sync: true})
		must(t, j.Append(entry("a")))
		must(t, j.Append(entry("b")))
		must(t, j.Committed("a", 1))
		must(t, j.Retire("b"))
		pass(time.Hour)
		if log, dir := d.count(syncLog), d.count("sync"); log != 2 || dir != 1 {
			t.Errorf("%d syncs of the log, %d of the directory, want 2 and 1", log, dir)
		}
	})
}

func TestEntriesFromBeforeTheStartAreSyncedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, _ := openTested(t, dir, journal.Config{})
		must(t, j.Append(entry("a")))
		j, d := openTested(t, copyOf(t, dir), journal.Config{})
		synctest.Wait()
		if got := d.count(syncLog); got != 0 {
			t.Errorf("%d syncs of an entry that is not late", got)
		}
		pass(time.Second)
		if got := d.count(syncLog); got != 1 {
			t.Errorf("%d syncs, want 1", got)
		}
		wantIDs(t, "pending", j.Pending(), "a")
	})
}

func TestCloseSyncsWhatIsPending(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		j, d := openTested(t, t.TempDir(), journal.Config{})
		must(t, j.Append(entry("a")))
		mustClose(t, j)
		if got := d.count(syncLog); got != 1 {
			t.Errorf("%d syncs, want 1", got)
		}
		j, d = openTested(t, t.TempDir(), journal.Config{})
		must(t, j.Append(entry("a")))
		must(t, j.Committed("a", 1))
		mustClose(t, j)
		if got := d.count(syncLog); got != 0 {
			t.Errorf("%d syncs with nothing pending", got)
		}
	})
}

func TestACommittedEntryGoesWhenItsCommitIsOldEnough(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, _ := openTested(t, dir, journal.Config{})
		must(t, j.Append(entry("a")))
		pass(time.Hour) // counts for nothing
		must(t, j.Committed("a", 1))
		pass(100 * time.Second)
		must(t, j.Append(entry("b")))
		must(t, j.Committed("b", 2))
		pass(50*time.Second - 1)
		wantIDs(t, "just before", slices.Collect(j.Recent()), "a", "b")
		pass(1)
		wantIDs(t, "then", slices.Collect(j.Recent()), "b")
		if s := j.Stats(); s.Recent != 1 || s.Pending != 0 {
			t.Errorf("stats %+v", s)
		}
		mustClose(t, j)
		j, _ = openTested(t, dir, journal.Config{})
		wantIDs(t, "after a restart", slices.Collect(j.Recent()), "b")
		must(t, j.Committed("b", 3)) // again: it counts from now
		pass(149 * time.Second)
		wantIDs(t, "committed again", slices.Collect(j.Recent()), "b")
		pass(time.Second)
		wantIDs(t, "at last", slices.Collect(j.Recent()))
		if s := j.Stats(); s.LiveBytes != 0 {
			t.Errorf("nothing lives, and yet: %+v", s)
		}
	})
}

func TestAnEntryFromTheFutureIsSyncedAllTheSame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, logName), journal.PendingSince(entry("a"), time.Now().Add(1000*time.Hour)), 0o600))
		_, d := openTested(t, dir, journal.Config{})
		pass(time.Second)
		if got := d.count(syncLog); got != 1 {
			t.Errorf("%d syncs, want 1", got)
		}
	})
}

func TestACommitFromTheFutureCountsFromTheStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, logName), journal.LogOf(entry("a"), time.Now().Add(1000*time.Hour)), 0o600))
		j, _ := openTested(t, dir, journal.Config{})
		pass(149 * time.Second)
		wantIDs(t, "recent", slices.Collect(j.Recent()), "a")
		pass(time.Second)
		wantIDs(t, "recent", slices.Collect(j.Recent()))
	})
}

// A server that is away may have lost what it acknowledged before, however long that takes to be found out.
func TestWhatIsHeldOutlivesItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, _ := openTested(t, dir, journal.Config{})
		must(t, j.Append(entry("a")))
		must(t, j.Committed("a", 1))
		j.Hold()
		pass(time.Hour)
		wantIDs(t, "recent", slices.Collect(j.Recent()), "a")
		must(t, j.Close())
		j, _ = openTested(t, dir, journal.Config{Held: true})
		pass(time.Hour)
		wantIDs(t, "recent in its next life", slices.Collect(j.Recent()), "a")
		j.Release()
		wantIDs(t, "recent after its release", slices.Collect(j.Recent()))
	})
}
