package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
)

// Sight is what a journal's files show from outside.
type Sight struct {
	Holder     string       // who uses the journal now; empty: nobody
	Pending    int          // entries whose commit is not known
	Oldest     time.Time    // when the first of them was appended
	Recent     int          // entries whose commit is younger than the default of Config.KeepFor
	Aside      []AsideEntry // what was set aside, without unreadable stretches
	Unreadable int          // stretches of damaged files
}

// Read reads a journal without opening it: it changes nothing, and takes no lock that somebody holds. While its owner is at work what it
// finds may be an instant old. each, unless nil, gets every entry that is pending or recent, newest first, those set aside left out; their
// Data is valid until it returns. Memory grows by a segment and the ids of what is in the files, not by what
// entries hold. Error: fs.ErrNotExist where dir holds no journal.
func Read(dir string, each func(Entry)) (Sight, error) {
	s := Sight{Holder: inUse(dir)}
	r := reading{sight: &s, each: each, marks: make(map[string]mark), now: time.Now()}
	err := r.asides(dir)
	if err == nil {
		err = r.log(dir)
	}
	if err != nil {
		return s, fmt.Errorf("read journal in %s: %w", dir, err)
	}
	return s, nil
}

// reading goes through a journal from its end to its beginning, so that what became of an entry is known before the entry comes.
type reading struct {
	sight *Sight
	each  func(Entry)
	marks map[string]mark // by id
	now   time.Time
}

// mark is what is known of an entry that is still to come.
type mark struct {
	over      bool // it has been counted, is retired, or lies aside
	committed time.Time
	revision  uint64
}

// asides takes what was set aside first: a process that died between two writes has left it in the log as well.
func (r *reading) asides(dir string) error {
	log, err := (&asideLog{path: filepath.Join(dir, asideName)}).read()
	if err != nil {
		return err
	}
	for _, a := range decodeAsides(log) {
		if a.Unreadable() {
			r.sight.Unreadable++
			continue
		}
		r.marks[a.ID] = mark{over: true}
		r.sight.Aside = append(r.sight.Aside, a)
	}
	return nil
}

// log reads the segments, newest first. One that goes meanwhile held nothing that is not in a newer one too.
func (r *reading) log(dir string) error {
	numbers, err := newestSegments(dir)
	if err != nil {
		return err
	}
	damaged := 0
	for _, n := range slices.Backward(numbers) {
		c, err := readSegment(dir, segmentName(n))
		if err != nil {
			return err
		}
		damaged += len(c.unreadable)
		for _, p := range slices.Backward(c.good) {
			r.replay(p.bytes)
		}
	}
	if r.sight.Holder == "" { // the end of a log that is being written is no damage
		r.sight.Unreadable += damaged
	}
	return nil
}

// listTries is how often segments are listed until the last of them is still there.
const listTries = 5

func newestSegments(dir string) (numbers []uint64, err error) {
	for range listTries {
		if numbers, err = listSegments(dir); err != nil {
			return nil, err
		}
		if _, err = os.Stat(filepath.Join(dir, segmentName(numbers[len(numbers)-1]))); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return numbers, err
}

// replay takes a record that was checked when it was read.
func (r *reading) replay(rec []byte) {
	o, _ := decodeOp(rec)
	m, known := r.marks[o.id]
	switch {
	case known && (m.over || o.kind != kindEntry): // what is newer says more
	case o.kind == kindCommit:
		r.marks[o.id] = mark{committed: o.at, revision: o.revision}
	case o.kind == kindRetire:
		r.marks[o.id] = mark{over: true}
	default:
		r.marks[o.id] = mark{over: true}
		r.entry(rec, m)
	}
}

func (r *reading) entry(rec []byte, m mark) {
	d := decoder{rest: rec[headerSize:]}
	e := d.entry()
	e.Committed, e.Revision = m.committed, m.revision
	switch {
	case e.Committed.IsZero():
		if r.sight.Pending++; r.sight.Oldest.IsZero() || e.At.Before(r.sight.Oldest) {
			r.sight.Oldest = e.At
		}
	case r.now.Sub(e.Committed) < Config{}.withDefaults().KeepFor:
		r.sight.Recent++
	default:
		return
	}
	if r.each != nil {
		r.each(e)
	}
}

// inUse says who uses the journal. A shared lock is refused while somebody has it to themselves, and is let go at once.
func inUse(dir string) string {
	path := filepath.Join(dir, lockName)
	if _, err := os.Stat(path); err != nil {
		return "" // looking for the lock would make its file
	}
	l := flock.New(path, flock.SetFlag(os.O_RDONLY))
	got, err := l.TryRLock()
	_ = l.Close()
	if err != nil || got {
		return ""
	}
	return holder(dir)
}
