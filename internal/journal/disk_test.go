package journal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/journal"
)

// fault is how a call to the disk goes wrong.
type fault int

const (
	works fault = iota
	failsBefore
	failsAfter
	failsHalfway // a write only; others fail before
)

// callName is what calls on a file are known by: all segments are the log.
func callName(name string) string {
	if strings.HasPrefix(name, "journal-") {
		return logName
	}
	return name
}

// image is a file as processes see it and as the loss of power leaves it.
type image struct {
	name       string // what calls are known by; a rename changes it
	seen, safe []byte
}

// testDisk is a real directory in which calls fail as the test likes, and which knows what power loss would leave.
// It syncs nothing in truth.
type testDisk struct {
	journal.Disk
	dir string

	before func(call string) // called before every call, by whoever makes it; nil: nothing

	mu    sync.Mutex
	calls map[string]int // by "sync journal.log" and the like
	seen  map[string]*image
	safe  map[string]*image
	fails func(call string) fault // nil: everything works
}

func newTestDisk(t rapid.TB, dir string) *testDisk {
	t.Helper()
	d := &testDisk{
		Disk: journal.OSDisk(dir), dir: dir,
		calls: map[string]int{}, seen: map[string]*image{}, safe: map[string]*image{},
	}
	for _, name := range logs(t, dir) {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			d.seen[name] = &image{name, b, bytes.Clone(b)}
			d.safe[name] = d.seen[name]
		}
	}
	return d
}

// do carries a call out, or not, as the fault says.
func (d *testDisk) do(call string, effect func(f fault) error) error {
	if d.before != nil {
		d.before(call)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls[call]++
	f := works
	if d.fails != nil {
		f = d.fails(call)
	}
	if f == works {
		return effect(f)
	}
	if f != failsBefore {
		if err := effect(f); err != nil {
			return err
		}
	}
	return &os.PathError{Op: call, Path: d.dir, Err: syscall.ENOSPC}
}

func (d *testDisk) set(fails func(call string) fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = fails
}

func (d *testDisk) count(call string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[call]
}

func (d *testDisk) Open(name string, empty bool) (journal.File, error) {
	var f *testFile
	err := d.do("open "+callName(name), func(fault) error {
		inner, err := d.Disk.Open(name, empty)
		if err != nil {
			return err
		}
		if d.seen[name] == nil || empty { // an emptied file counts as a new one: nothing of the old is promised
			d.seen[name] = &image{name: name}
		}
		f = &testFile{File: inner, disk: d, image: d.seen[name]}
		return nil
	})
	if err != nil && f != nil {
		_ = f.Close()
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *testDisk) Rename(from, to string) error {
	return d.do("rename", func(fault) error {
		if err := d.Disk.Rename(from, to); err != nil {
			return err
		}
		d.seen[to] = d.seen[from]
		d.seen[to].name = to
		delete(d.seen, from)
		return nil
	})
}

func (d *testDisk) Remove(name string) error {
	return d.do("remove "+callName(name), func(fault) error {
		if err := d.Disk.Remove(name); err != nil {
			return err
		}
		delete(d.seen, name)
		return nil
	})
}

func (d *testDisk) Holds(name string, f journal.File) (holds bool, err error) {
	err = d.do("holds", func(fault) error {
		holds, err = d.Disk.Holds(name, f.(*testFile).File)
		return err
	})
	return holds, err
}

func (d *testDisk) Sync() error {
	return d.do("sync", func(fault) error {
		clear(d.safe)
		for name, i := range d.seen {
			d.safe[name] = i
		}
		return nil
	})
}

type testFile struct {
	journal.File
	disk  *testDisk
	image *image
}

func (f *testFile) call(what string) string {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return what + " " + callName(f.image.name)
}

func (f *testFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.disk.do(f.call("write"), func(how fault) error {
		if how == failsHalfway {
			p = p[:len(p)/2]
		}
		if missing := int(off) + len(p) - len(f.image.seen); missing > 0 {
			f.image.seen = append(f.image.seen, make([]byte, missing)...)
		}
		copy(f.image.seen[off:], p)
		_, err := f.File.WriteAt(p, off)
		return err
	})
	return len(p), err
}

func (f *testFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.disk.do(f.call("read"), func(fault) error {
		n, err = f.File.ReadAt(p, off)
		return err
	})
	return n, err
}

func (f *testFile) Truncate(size int64) error {
	return f.disk.do(f.call("truncate"), func(fault) error {
		f.image.seen = f.image.seen[:min(int(size), len(f.image.seen))]
		return f.File.Truncate(size)
	})
}

func (f *testFile) Sync() error {
	return f.disk.do(f.call("sync"), func(how fault) error {
		if how == failsHalfway {
			return nil
		}
		f.image.safe = bytes.Clone(f.image.seen)
		return nil
	})
}

// losePower returns a directory as the loss of power may leave it. chance picks one of n possibilities.
func (d *testDisk) losePower(t rapid.TB, chance func(n int) int) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	to, err := os.MkdirTemp(filepath.Dir(d.dir), "power")
	must(t, err)
	names := d.safe
	if chance(2) == 1 {
		names = d.seen // the kernel wrote the directory by itself
	}
	for name, i := range names {
		must(t, os.WriteFile(filepath.Join(to, name), i.torn(chance), 0o600))
	}
	return to
}

// torn is what may be found of a file: what was synced, and of the rest a part, with a hole in it.
func (i *image) torn(chance func(n int) int) []byte {
	if !bytes.HasPrefix(i.seen, i.safe) || chance(3) == 0 {
		return i.safe
	}
	rest := bytes.Clone(i.seen[len(i.safe):])
	rest = rest[:chance(len(rest)+1)]
	if chance(2) == 1 && len(rest) > 0 {
		from := chance(len(rest))
		clear(rest[from:min(from+40, len(rest))])
	}
	return append(bytes.Clone(i.safe), rest...)
}

// on makes the named calls fail.
func on(how fault, calls ...string) func(string) fault {
	return func(call string) fault {
		if slices.Contains(calls, call) {
			return how
		}
		return works
	}
}
