package journal_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/journal"
)

// place is where an entry may be found; several are or-ed together.
type place int

const (
	nowhere place = 1 << iota
	pending
	recent
	inAside
)

// fate is what the model knows of an entry.
type fate struct {
	now       place // in the open journal
	next      place // where a kill may leave it
	afterLoss place // where the loss of power may leave it
	appended  time.Time
}

// model drives a journal on a disk that fails, and knows what must be found.
type model struct {
	t     rapid.TB
	dir   string
	cfg   journal.Config
	disk  *testDisk
	j     *journal.Journal
	fates map[string]*fate
	names int
}

func (m *model) open(dir string) {
	m.dir, m.disk = dir, newTestDisk(m.t, dir)
	j, err := journal.OpenOn(m.disk, dir, m.cfg)
	must(m.t, err)
	m.j = j
	synctest.Wait()
}

// find tells where every entry is, and fails when one is in two places or is not what was appended.
func (m *model) find() map[string]place {
	found := map[string]place{}
	set, _ := aside(m.t, m.j)
	for p, list := range map[place][]string{pending: ids(m.t, m.j.Pending()), recent: ids(m.t, slices.Collect(m.j.Recent())), inAside: set} {
		for _, id := range list {
			if found[id] != 0 && found[id] != inAside && p != inAside {
				m.t.Fatalf("%s is in two places", id)
			}
			found[id] |= p
		}
	}
	return found
}

// check compares the open journal with the model.
func (m *model) check(rt *rapid.T) {
	found := m.find()
	for id, f := range m.fates {
		if got := max(found[id], nowhere); got != f.now {
			m.t.Fatalf("%s is in place %b, want %b", id, got, f.now)
		}
		delete(found, id)
	}
	if len(found) > 0 {
		m.t.Fatalf("found %v, which were never appended", found)
	}
}

// restart closes the model's journal as it is, opens what is left of it and learns what became of each entry.
func (m *model) restart(left string, allowed func(*fate) place) {
	m.disk.set(nil)
	_ = m.j.Close() // what it syncs is not in left
	m.open(left)
	found := m.find()
	for id, f := range m.fates {
		got := max(found[id], nowhere)
		if got&allowed(f) != got {
			m.t.Fatalf("%s is in place %b after a restart, allowed %b", id, got, allowed(f))
		}
		*f = fate{now: got, next: got, afterLoss: got, appended: f.appended}
	}
}

func (m *model) Append(rt *rapid.T) {
	m.names++
	id := fmt.Sprint("e", m.names)
	f := &fate{now: pending, next: pending, afterLoss: nowhere | pending, appended: time.Now()}
	switch err := m.j.Append(entry(id)); {
	case errors.Is(err, journal.ErrNotSynced):
	case err != nil:
		f.now, f.next = nowhere, nowhere|pending
	case m.cfg.Sync:
		f.afterLoss = pending
	}
	m.fates[id] = f
}

// pick draws a live entry.
func (m *model) pick(rt *rapid.T) (string, *fate) {
	var live []string
	for id, f := range m.fates {
		if f.now&(pending|recent) != 0 {
			live = append(live, id)
		}
	}
	if len(live) == 0 {
		rt.Skip("nothing lives")
	}
	slices.Sort(live)
	id := rapid.SampledFrom(live).Draw(rt, "id")
	return id, m.fates[id]
}

// moved notes that an entry went to a place, for certain unless the mark could not be written. An attempt to set it
// aside that failed may still show after a restart.
func (f *fate) moved(to place, err error) {
	before := f.next
	f.afterLoss |= f.next | to
	f.now, f.next = to, to|before&inAside
	if err != nil {
		f.next |= before
	}
}

func (m *model) Committed(rt *rapid.T) {
	id, f := m.pick(rt)
	f.moved(recent, m.j.Committed(id, 1))
}

func (m *model) Retire(rt *rapid.T) {
	id, f := m.pick(rt)
	f.moved(nowhere, m.j.Retire(id))
}

func (m *model) SetAside(rt *rapid.T) {
	id, f := m.pick(rt)
	if err := m.j.SetAside(id, "late"); err != nil {
		f.next |= inAside
		f.afterLoss |= inAside
		return
	}
	*f = fate{now: inAside, next: inAside, afterLoss: inAside}
}

func (m *model) Turn(rt *rapid.T) {
	m.j.ForceTurn()
	synctest.Wait()
}

// Pass lets time go by; entries that waited long enough are then safe, if the journal thinks it is well.
func (m *model) Pass(rt *rapid.T) {
	pass(time.Duration(rapid.IntRange(1, 3000).Draw(rt, "ms")) * time.Millisecond)
	if m.j.Writable() != nil {
		return
	}
	for _, f := range m.fates {
		if f.now == pending && time.Since(f.appended) >= time.Second {
			f.afterLoss &^= nowhere
		}
	}
}

func (m *model) Fail(rt *rapid.T) {
	faults := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 12).Draw(rt, "faults")
	m.disk.set(func(call string) fault {
		if len(faults) == 0 || call == readLog {
			return works
		}
		f := faults[0]
		faults = faults[1:]
		return max(fault(f)-6, works) // two calls in three work
	})
}

func (m *model) Heal(rt *rapid.T) {
	m.disk.set(nil)
	pass(2 * time.Minute)
	must(m.t, m.j.Writable())
}

func (m *model) Kill(rt *rapid.T) {
	m.restart(copyOf(m.t, m.dir), func(f *fate) place { return f.next })
}

func (m *model) Reopen(rt *rapid.T) {
	m.disk.set(nil)
	must(m.t, m.j.Close())
	m.restart(m.dir, func(f *fate) place { return f.next })
}

func (m *model) LosePower(rt *rapid.T) {
	left := m.disk.losePower(m.t, func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "chance") })
	m.restart(left, func(f *fate) place { return f.afterLoss })
}

// Whatever fails, whenever the process is killed and whenever the power goes: what was promised is there.
func TestModel(t *testing.T) {
	for name, sync := range map[string]bool{"synced later": false, "every append synced": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				base := t.TempDir()
				hidden := struct{ rapid.TB }{t} // rapid asks a *testing.T for its deadline, which a bubble forbids
				rapid.Check(hidden, func(rt *rapid.T) { checkModel(rt, base, sync) })
			})
		})
	}
}

func checkModel(rt *rapid.T, base string, sync bool) {
	root, err := os.MkdirTemp(base, "run")
	must(rt, err)
	defer os.RemoveAll(root)
	dir := root + "/journal"
	must(rt, os.Mkdir(dir, 0o700))
	m := &model{t: rt, fates: map[string]*fate{}, cfg: journal.Config{Sync: sync, KeepFor: 1e6 * time.Hour}}
	m.open(dir)
	defer func() {
		m.disk.set(nil)
		_ = m.j.Close()
	}()
	rt.Repeat(map[string]func(*rapid.T){
		"": m.check, "append": m.Append, "append more": m.Append, "committed": m.Committed, "retire": m.Retire, "set aside": m.SetAside,
		"turn": m.Turn, "pass": m.Pass, "fail": m.Fail, "heal": m.Heal,
		"kill": m.Kill, "reopen": m.Reopen, "lose power": m.LosePower,
	})
}

// Bursts of appends and marks from many goroutines, while segments begin all the time, leave what a map says.
func TestTurnsUnderConcurrentAppendsLoseNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "run")
		must(rt, err)
		d := newTestDisk(rt, dir)
		j, err := journal.OpenOn(d, dir, journal.Config{Sync: rapid.Bool().Draw(rt, "sync")})
		must(rt, err)
		plans := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]place{nowhere, pending, recent, inAside}), 1, 40), 2, 16).Draw(rt, "plans")
		want := map[place][]string{}
		for w, plan := range plans {
			for i, p := range plan {
				want[p] = append(want[p], fmt.Sprint(w, "-", i))
			}
		}
		burst(rt, j, plans, func() bool { return d.count("rename") > 0 })
		checkAll(rt, j, want)
		must(rt, j.Close())
		j, err = journal.OpenOn(newTestDisk(rt, dir), dir, journal.Config{})
		must(rt, err)
		checkAll(rt, j, want)
		must(rt, j.Close())
	})
}

// burst carries the plans out, one goroutine each, and has segments begin over and over until they are done and it
// was turned at least once.
func burst(t rapid.TB, j *journal.Journal, plans [][]place, turned func() bool) {
	var workers, turner sync.WaitGroup
	var done atomic.Bool
	turner.Go(func() {
		for !done.Load() || !turned() {
			j.ForceTurn()
			runtime.Gosched()
		}
	})
	errs := make([]error, len(plans))
	for w, plan := range plans {
		workers.Go(func() {
			for i, p := range plan {
				errs[w] = errors.Join(errs[w], bring(j, fmt.Sprint(w, "-", i), p))
			}
		})
	}
	workers.Wait()
	done.Store(true)
	turner.Wait()
	must(t, errors.Join(errs...))
}

// bring appends an entry and brings it to a place.
func bring(j *journal.Journal, id string, to place) error {
	err := j.Append(entry(id))
	switch to {
	case nowhere:
		return errors.Join(err, j.Retire(id))
	case recent:
		return errors.Join(err, j.Committed(id, 1))
	case inAside:
		return errors.Join(err, j.SetAside(id, "late"))
	}
	return err
}

func checkAll(t rapid.TB, j *journal.Journal, want map[place][]string) {
	t.Helper()
	set, stretches := aside(t, j)
	for p, got := range map[place][]string{pending: ids(t, j.Pending()), recent: ids(t, slices.Collect(j.Recent())), inAside: set} {
		slices.Sort(got)
		slices.Sort(want[p])
		if !slices.Equal(got, want[p]) {
			t.Fatalf("in place %b: got %q, want %q", p, got, want[p])
		}
	}
	if len(stretches) > 0 {
		t.Fatalf("unreadable: %q", stretches)
	}
}
