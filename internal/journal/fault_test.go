package journal_test

import (
	"errors"
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

const (
	writeLog    = "write journal.log"
	truncateLog = "truncate journal.log"
	writeTmp    = "write journal.log.tmp"
	writeAside  = "write aside.log"
	syncAside   = "sync aside.log"
)

func TestAFailedWriteLeavesTheEntryOut(t *testing.T) {
	for name, how := range map[string]fault{"before": failsBefore, "half way": failsHalfway, "after": failsAfter} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				dir := t.TempDir()
				j, d := openTested(t, dir, journal.Config{})
				must(t, j.Append(entry("a")))
				d.set(on(how, writeLog))
				wantError(t, j.Append(entry("b")), syscall.ENOSPC)
				synctest.Wait()
				wantError(t, j.Writable(), syscall.ENOSPC)
				wantIDs(t, "pending", j.Pending(), "a")
				copied, _ := openTested(t, copyOf(t, dir), journal.Config{})
				wantIDs(t, "after a kill", copied.Pending(), "a")
				if s := copied.Stats(); s.Unreadable != 0 {
					t.Errorf("the failed write was left in the file: %+v", s)
				}
				d.set(nil)
				must(t, j.Append(entry("c")))
				must(t, j.Writable())
				wantIDs(t, "pending", j.Pending(), "a", "c")
			})
		})
	}
}

func TestWhatAFailedWriteLeftIsCutOffLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, d := openTested(t, dir, journal.Config{})
		must(t, j.Append(entry("a")))
		d.set(func(call string) fault {
			if call == writeLog {
				return failsAfter
			}
			return on(failsBefore, truncateLog)(call)
		})
		wantError(t, j.Append(entry("a much longer name")), syscall.ENOSPC)
		d.set(on(failsBefore, truncateLog))
		wantError(t, j.Append(entry("c")), syscall.ENOSPC)
		d.set(nil)
		must(t, j.Append(entry("d")))
		mustClose(t, j)
		j, _ = openTested(t, dir, journal.Config{})
		wantIDs(t, "pending", j.Pending(), "a", "d")
		if s := j.Stats(); s.Unreadable != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestADiskThatWasFullIsFoundWritableAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, d := openTested(t, dir, journal.Config{})
		d.set(on(failsBefore, writeLog))
		wantError(t, j.Append(entry("a")), syscall.ENOSPC)
		pass(10 * time.Minute)
		wantError(t, j.Writable(), syscall.ENOSPC)
		if got := d.count(writeLog); got > 30 {
			t.Errorf("%d tries in ten minutes", got)
		}
		d.set(nil)
		pass(time.Minute)
		must(t, j.Writable())
		if info, err := os.Stat(filepath.Join(dir, logName)); err != nil || info.Size() != 0 {
			t.Errorf("the probe was left in the log: %v, %v", info, err)
		}
	})
}

func TestAMarkThatCannotBeWrittenHoldsInMemory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, d := openTested(t, dir, journal.Config{})
		for _, id := range []string{"a", "b", "c"} {
			must(t, j.Append(entry(id)))
		}
		d.set(on(failsBefore, writeLog))
		wantError(t, j.Committed("a", 1), syscall.ENOSPC)
		wantError(t, j.Retire("b"), syscall.ENOSPC)
		must(t, j.SetAside("c", "late"))
		wantIDs(t, "pending", j.Pending())
		wantIDs(t, "recent", slices.Collect(j.Recent()), "a")
		killed := copyOf(t, dir) // before the next turn, which writes the marks as soon as it can
		d.set(nil)
		copied, _ := openTested(t, killed, journal.Config{})
		wantIDs(t, "pending after a kill", copied.Pending(), "a", "b")
		if got, _ := aside(t, copied); !slices.Equal(got, []string{"c"}) {
			t.Errorf("aside after a kill: %q", got)
		}
		j.ForceTurn()
		pass(time.Minute) // a probe may have failed, and then the repair waits
		copied, _ = openTested(t, copyOf(t, dir), journal.Config{})
		wantIDs(t, "pending after a turn", copied.Pending())
		wantIDs(t, "recent after a turn", slices.Collect(copied.Recent()), "a")
	})
}

func TestWhatCannotBeSetAsideStaysPending(t *testing.T) {
	for _, call := range []string{writeAside, syncAside} {
		for _, how := range []fault{failsBefore, failsAfter, failsHalfway} {
			t.Run(fmt.Sprint(call, " ", how), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					dir := t.TempDir()
					j, d := openTested(t, dir, journal.Config{})
					must(t, j.Append(entry("a")))
					d.set(on(how, call))
					wantError(t, j.SetAside("a", "late"), syscall.ENOSPC)
					wantIDs(t, "pending", j.Pending(), "a")
					d.set(nil)
					must(t, j.SetAside("a", "late"))
					if got, stretches := aside(t, j); !slices.Equal(got, []string{"a"}) || len(stretches) != 0 {
						t.Errorf("aside: %q and %d stretches", got, len(stretches))
					}
					wantIDs(t, "pending", j.Pending())
				})
			})
		}
	}
}

func TestAfterAFailedSyncASegmentBegins(t *testing.T) {
	for name, sync := range map[string]bool{"every append": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var told []error
				j, d := openTested(t, t.TempDir(), journal.Config{Sync: sync, OnError: func(err error) { told = append(told, err) }})
				d.set(on(failsHalfway, syncLog, syncTmp))
				err := j.Append(entry("a"))
				if sync {
					wantError(t, err, journal.ErrNotSynced)
				} else {
					must(t, err)
				}
				pass(time.Hour)
				if d.count("open journal.log.tmp") == 0 {
					t.Error("no turn was tried until somebody asked")
				}
				wantIDs(t, "pending", j.Pending(), "a")
				wantError(t, j.Writable(), journal.ErrNotSynced)
				if len(told) == 0 || len(told) > 2 {
					t.Errorf("told %v", told)
				}
				d.set(nil)
				pass(time.Minute)
				must(t, j.Writable())
				lost, _ := openTested(t, d.losePower(t, func(int) int { return 0 }), journal.Config{})
				wantIDs(t, "after the loss of power", lost.Pending(), "a")
			})
		})
	}
}

func TestATurnThatFailsAnywhereLosesNothing(t *testing.T) {
	calls := []string{"open journal.log.tmp", writeTmp, syncTmp, "rename", "sync", syncLog}
	for _, call := range calls {
		for _, how := range []fault{failsBefore, failsHalfway, failsAfter} {
			t.Run(fmt.Sprint(call, " ", how), func(t *testing.T) {
				inBubble(t, func(t *testing.T) { failTurn(t, on(how, call)) })
			})
		}
	}
	for _, how := range []fault{failsBefore, failsAfter} {
		t.Run(fmt.Sprint("rename and the look at it ", how), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				failTurn(t, func(call string) fault { return max(on(how, "rename")(call), on(failsBefore, "holds")(call)) })
			})
		})
	}
}

func failTurn(t *testing.T, fails func(string) fault) {
	dir := t.TempDir()
	j, d := openTested(t, dir, journal.Config{})
	must(t, j.Append(entry("a")))
	must(t, j.Append(entry("b")))
	must(t, j.Committed("b", 1))
	d.set(fails)
	j.ForceTurn()
	synctest.Wait()
	want := []string{"a"}
	if err := j.Append(entry("c")); err == nil {
		want = append(want, "c")
	} else if err := j.Writable(); err == nil {
		t.Error("an append failed, and yet the journal says it is writable")
	}
	if _, delta, _ := j.Held(); delta > 0 {
		t.Error("the journal goes on collecting for a turn that it gave up")
	}
	if info, err := os.Stat(filepath.Join(dir, "journal.log.tmp")); err == nil && info.Size() > 0 {
		t.Errorf("a turn that was given up leaves %d bytes behind", info.Size())
	}
	check := func(dir string) *journal.Journal {
		t.Helper()
		found, _ := openTested(t, dir, journal.Config{})
		wantIDs(t, "pending", found.Pending(), want...)
		return found
	}
	wantIDs(t, "recent", slices.Collect(check(copyOf(t, dir)).Recent()), "b")
	d.set(nil)
	pass(time.Minute)
	must(t, j.Writable())
	must(t, j.Append(entry("d")))
	want = append(want, "d")
	wantIDs(t, "pending", j.Pending(), want...)
	wantIDs(t, "recent", slices.Collect(check(copyOf(t, dir)).Recent()), "b")
	wantIDs(t, "recent", slices.Collect(j.Recent()), "b")
	pass(time.Second)
	check(d.losePower(t, func(int) int { return 0 })) // b was committed before it was synced
}

func TestDamageThatCannotBeSetAsideIsNotThrownAway(t *testing.T) {
	log := append(sample(t), "torn"...)
	for _, call := range []string{writeAside, syncAside, writeTmp, "rename"} {
		t.Run(call, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				dir := t.TempDir()
				must(t, os.WriteFile(filepath.Join(dir, logName), log, 0o600))
				d := newTestDisk(t, dir)
				d.set(on(failsBefore, call))
				j, err := journal.OpenOn(d, dir, journal.Config{})
				must(t, err)
				must(t, j.Append(entry("e"))) // behind the damage
				wantStretch := func(j *journal.Journal) {
					t.Helper()
					if _, got := aside(t, j); len(got) != 1 || string(got[0]) != "torn" {
						t.Errorf("stretches: %q", got)
					}
					wantIDs(t, "pending", j.Pending(), "a", "c", "e")
				}
				wantStretch(j)
				copied, _ := openTested(t, copyOf(t, dir), journal.Config{})
				wantStretch(copied)
				d.set(nil)
				mustClose(t, j)
				j, err = journal.OpenOn(newTestDisk(t, dir), dir, journal.Config{})
				must(t, err)
				defer mustClose(t, j)
				wantStretch(j)
				if left, err := os.ReadFile(filepath.Join(dir, logName)); err != nil || strings.Contains(string(left), "torn") {
					t.Errorf("the damage is still in the log: %v", err)
				}
			})
		})
	}
}

func TestAFileThatCannotBeOpenedIsAnErrorAndFreesTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"open journal.log", "open aside.log"} {
		d := newTestDisk(t, dir)
		d.set(on(failsBefore, name))
		_, err := journal.OpenOn(d, dir, journal.Config{})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	mustOpen(t, dir, journal.Config{})
}

func TestWhatWasSetAsideSurvivesTheLossOfPower(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		j, d := openTested(t, t.TempDir(), journal.Config{})
		must(t, j.Append(entry("a")))
		must(t, j.SetAside("a", strings.Repeat("late ", 10_000)))
		left, _ := openTested(t, d.losePower(t, func(int) int { return 0 }), journal.Config{})
		if got, _ := aside(t, left); !slices.Equal(got, []string{"a"}) {
			t.Errorf("aside: %q", got)
		}
		if all, err := left.Aside(); err != nil || len(all[0].Reason) != 4<<10 {
			t.Errorf("a reason of %d bytes, %v", len(all[0].Reason), err)
		}
	})
}

// Marks that could not be written are made up for by one turn, not by one after another.
func TestMarksThatCouldNotBeWrittenCostOneTurn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		j, d := openTested(t, dir, journal.Config{MaxBytes: 64 << 10})
		for i := range 10 {
			must(t, j.Append(journal.Entry{ID: fmt.Sprint(i)}))
		}
		d.set(on(failsBefore, writeLog))
		for i := range 10 {
			wantError(t, j.Committed(fmt.Sprint(i), 1), syscall.ENOSPC)
		}
		d.set(nil)
		j.ForceTurn()
		pass(time.Hour / 60)
		if got := d.count("rename"); got != 1 {
			t.Errorf("%d turns", got)
		}
		left, _ := openTested(t, copyOf(t, dir), journal.Config{})
		if s := left.Stats(); s.Pending != 0 || s.Recent != 10 {
			t.Errorf("%+v", s)
		}
	})
}
