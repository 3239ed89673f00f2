package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// Sight is what a journal's files show from outside.
type Sight struct {
	Holder     string // who uses the journal now; empty: nobody
	Pending    int    // entries whose commit is not known
	Oldest     time.Time
	Aside      int // entries set aside
	Unreadable int // stretches of damaged files
}

// Look reads a journal without opening it: it changes nothing, and takes no lock that somebody holds. While its owner is at work the
// counts may be an instant old. Memory grows with the pending entries, of which there are few, and by one segment. Errors:
// fs.ErrNotExist where dir holds no journal.
func Look(dir string) (Sight, error) {
	if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
		return Sight{}, fmt.Errorf("look at journal: %w", err)
	}
	s := Sight{Holder: inUse(dir)}
	asides, err := (&asideLog{path: filepath.Join(dir, asideName)}).read()
	if err != nil {
		return s, err
	}
	set := make(map[string]bool)
	for _, a := range decodeAsides(asides) {
		if a.Unreadable() {
			s.Unreadable++
			continue
		}
		set[a.ID] = true
		s.Aside++
	}
	pending, damaged, err := lookAtLog(dir)
	for id, at := range pending {
		if set[id] {
			continue // its process died between the two writes
		}
		s.Pending++
		if s.Oldest.IsZero() || at.Before(s.Oldest) {
			s.Oldest = at
		}
	}
	if s.Holder == "" { // the end of a log that is being written is no damage
		s.Unreadable += damaged
	}
	return s, err
}

// lookAtLog returns when each pending entry was appended, by its id, and how many stretches cannot be read.
func lookAtLog(dir string) (pending map[string]time.Time, damaged int, err error) {
	numbers, err := listSegments(dir)
	if err != nil {
		return nil, 0, err
	}
	pending = make(map[string]time.Time)
	for _, n := range numbers {
		c, err := readSegment(dir, segmentName(n))
		if err != nil {
			return nil, 0, err
		}
		damaged += len(c.unreadable)
		for _, p := range c.good {
			switch o, _ := decodeOp(p.bytes); o.kind { // checked when it was read
			case kindEntry:
				pending[o.id] = o.at
			default:
				delete(pending, o.id)
			}
		}
	}
	return pending, damaged, nil
}

// inUse says who uses the journal. A shared lock is refused while somebody has it to themselves, and is let go at once.
func inUse(dir string) string {
	l := flock.New(filepath.Join(dir, lockName), flock.SetFlag(os.O_RDONLY))
	if got, err := l.TryRLock(); err != nil || got {
		_ = l.Close()
		return ""
	}
	_ = l.Close()
	return holder(dir)
}
