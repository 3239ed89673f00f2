package journal

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Contents is what a journal's files hold.
type Contents struct {
	Pending []Entry // commit not known
	Recent  []Entry // committed, and the time for which such entries are kept is not over
	Aside   []AsideEntry
}

// readTries is how often Read looks at segments that come and go while it does.
const readTries = 5

// Read reads a journal without opening it, and changes nothing: its owner may be at work, or not run at all. keepFor is that owner's
// Config.KeepFor, 0 the default. What cannot be read is left out. Error: fs.ErrNotExist where dir holds no journal.
func Read(dir string, keepFor time.Duration) (Contents, error) {
	numbers, err := listSegments(dir)
	if err == nil && len(numbers) == 1 { // what is listed first need not be there
		_, err = os.Stat(filepath.Join(dir, segmentName(numbers[0])))
	}
	found := make(map[string]Entry)
	for range readTries {
		if err != nil {
			return Contents{}, fmt.Errorf("read journal in %s: %w", dir, err)
		}
		if found, err = replayAll(dir, numbers); err != nil {
			continue
		}
		before := numbers
		if numbers, err = listSegments(dir); err == nil && slices.Equal(before, numbers) {
			break // what a segment that went had was still to be read, or was in none that came
		}
	}
	log, err := (&asideLog{path: filepath.Join(dir, asideName)}).read()
	if err != nil {
		return Contents{}, err
	}
	c := Contents{Aside: decodeAsides(log)}
	for _, a := range c.Aside {
		delete(found, a.ID)
	}
	kept := Config{KeepFor: keepFor}.withDefaults().KeepFor
	for _, e := range slices.SortedFunc(maps.Values(found), func(a, b Entry) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) }) {
		switch {
		case e.Committed.IsZero():
			c.Pending = append(c.Pending, e)
		case time.Since(e.Committed) < kept:
			c.Recent = append(c.Recent, e)
		}
	}
	return c, nil
}

// replayAll reads segments, oldest first, and returns the entries that are not retired.
func replayAll(dir string, numbers []uint64) (map[string]Entry, error) {
	found := make(map[string]Entry)
	for _, n := range numbers {
		c, err := readSegment(dir, segmentName(n))
		if err != nil {
			return nil, err
		}
		for _, p := range c.good {
			replayOne(found, p.bytes)
		}
	}
	return found, nil
}

// replayOne applies a record that was checked when it was read.
func replayOne(found map[string]Entry, rec []byte) {
	o, _ := decodeOp(rec)
	switch o.kind {
	case kindEntry:
		d := decoder{rest: rec[headerSize:]}
		e := d.entry()
		e.Data = bytes.Clone(e.Data)
		found[e.ID] = e
	case kindCommit:
		if e, ok := found[o.id]; ok {
			e.Committed, e.Revision = o.at, o.revision
			found[o.id] = e
		}
	case kindRetire:
		delete(found, o.id)
	}
}
