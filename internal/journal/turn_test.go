package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/journal"
)

func TestTheLogShrinksWhenDeadBytesPrevail(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const bound = 1 << 20
		j, d := openTested(t, t.TempDir(), journal.Config{MaxBytes: bound})
		must(t, j.Append(entry("stays")))
		for i := range 20_000 {
			id := fmt.Sprint(i)
			must(t, j.Append(entry(id)))
			must(t, j.Retire(id))
			if i%1000 == 0 {
				synctest.Wait()
			}
			if s := j.Stats(); s.Bytes > bound {
				t.Fatalf("%d bytes", s.Bytes)
			}
		}
		synctest.Wait()
		if s := j.Stats(); s.Bytes > bound*3/4 || d.count("rename") == 0 {
			t.Errorf("%d bytes after %d turns", s.Bytes, d.count("rename"))
		}
		wantIDs(t, "pending", j.Pending(), "stays")
	})
}

// outage is what the loss of power at some moment leaves, and the entries that were promised by then.
type outage struct {
	call     string
	left     string
	promised []string
}

func TestPowerLostAtAnyMomentOfATurn(t *testing.T) {
	for name, sync := range map[string]bool{"every append synced": true, "synced later": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) { losePowerInTurn(t, sync) })
		})
	}
}

func losePowerInTurn(t *testing.T, sync bool) {
	j, d := openTested(t, t.TempDir(), journal.Config{Sync: sync})
	must(t, j.Append(entry("a")))
	must(t, j.Append(entry("b")))
	pass(time.Second)
	promised := []string{"a", "b"}
	var outages []outage
	appended := 0
	d.before = func(call string) {
		for variant := range 2 { // names as synced, names as seen
			first := true
			left := d.losePower(t, func(int) int {
				defer func() { first = false }()
				return map[bool]int{true: variant, false: 0}[first]
			})
			outages = append(outages, outage{call, left, slices.Clone(promised)})
		}
		if call != syncTmp || appended > d.count(syncTmp) || appended == 2 {
			return
		}
		appended++ // the first comes while the live entries are written, the second after the last look at what came
		id := fmt.Sprint("meanwhile", appended)
		must(t, j.Append(entry(id)))
		if sync {
			promised = append(promised, id)
		}
	}
	j.ForceTurn()
	synctest.Wait()
	d.before = nil
	if len(outages) < 16 || d.count("rename") != 1 || appended != 2 {
		t.Fatalf("%d outages, %d renames, %d appends", len(outages), d.count("rename"), appended)
	}
	for _, o := range outages {
		found, _ := openTested(t, o.left, journal.Config{})
		for _, id := range o.promised {
			if !slices.Contains(ids(t, found.Pending()), id) {
				t.Errorf("power lost before %q: %s is gone", o.call, id)
			}
		}
		mustClose(t, found)
	}
}

func TestALongTurnDoesNotDelayTheSyncOfOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		j, d := openTested(t, t.TempDir(), journal.Config{})
		for i := range 12 {
			id := fmt.Sprint("big", i)
			must(t, j.Append(journal.Entry{ID: id, Data: make([]byte, 1<<20)}))
		}
		must(t, j.Append(entry("a")))
		d.before = func(call string) {
			if call == syncTmp {
				<-time.After(time.Second / 2) // a slow disk
			}
			if call == "rename" && d.count(syncLog) == 0 {
				t.Error("the entry that waits was not synced during the turn")
			}
		}
		j.ForceTurn()
		pass(10 * time.Second)
		if got := d.count("rename"); got != 1 {
			t.Errorf("%d turns", got)
		}
	})
}

func TestWhatWaitsWhileTheDiskIsSlowIsWrittenAtOnceAndBounded(t *testing.T) {
	t.Parallel()
	const bound, size, all = 20_000, 1000, 40
	dir := filepath.Join(t.TempDir(), "journal")
	var j *journal.Journal
	var refused atomic.Int32
	d := newTestDisk(t, dir)
	first := true
	d.before = func(call string) { // the first write takes until everybody else has called
		for call == writeLog && first {
			queued, _, _ := j.Held()
			first = queued/size+int(refused.Load()) < all
			runtime.Gosched()
		}
	}
	j, err := journal.OpenOn(d, dir, journal.Config{MaxBytes: bound})
	must(t, err)
	defer mustClose(t, j)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			err := j.Append(journal.Entry{ID: fmt.Sprint(i), Data: make([]byte, size)})
			if errors.Is(err, journal.ErrFull) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := j.Stats(); s.Bytes > bound || s.Pending < 15 || s.Pending+int(refused.Load()) != all {
		t.Errorf("%d refused, %+v", refused.Load(), s)
	}
	if got := d.count(writeLog); got > 3 {
		t.Errorf("%d writes", got)
	}
}

func TestMemoryIsBoundedByWhatLives(t *testing.T) {
	for name, sync := range map[string]bool{"every append synced": true, "synced later": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				j, _ := openTested(t, t.TempDir(), journal.Config{Sync: sync})
				synctest.Wait()
				for i := range 1000 {
					id := fmt.Sprint(i)
					must(t, j.Append(entry(id)))
					must(t, j.Retire(id))
				}
				pass(time.Second)
				if queued, delta, arrivals := j.Held(); queued != 0 || delta != 0 || arrivals > 1 {
					t.Errorf("held: %d bytes queued, %d collected, %d arrivals", queued, delta, arrivals)
				}
				if s := j.Stats(); s.LiveBytes != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}
