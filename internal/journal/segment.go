package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
)

const (
	firstName  = "journal.log" // segment 0: all there was in earlier versions
	namePrefix = "journal-"
	nameSuffix = ".log"
	tmpName    = "journal.log.tmp"
)

// segment is one file of the log. Positions count through all segments: a record's is its segment's base plus its
// offset in the file.
type segment struct {
	number uint64
	base   int64
	size   int64 // once a later segment is there
	live   int   // entries whose record is here
	file   file  // closed when the segment is removed
}

func (s *segment) name() string { return segmentName(s.number) }

func segmentName(number uint64) string {
	if number == 0 {
		return firstName
	}
	return fmt.Sprintf("%s%08d%s", namePrefix, number, nameSuffix)
}

// numberOf reads a segment's number from its name.
func numberOf(name string) (number uint64, ok bool) {
	if name == firstName {
		return 0, true
	}
	digits, prefixed := strings.CutPrefix(name, namePrefix)
	digits, suffixed := strings.CutSuffix(digits, nameSuffix)
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, prefixed && suffixed && err == nil && segmentName(number) == name
}

// listSegments returns the numbers of the segments in dir, oldest first: at least one.
func listSegments(dir string) ([]uint64, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var numbers []uint64
	for _, f := range files {
		if n, ok := numberOf(f.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		numbers = []uint64{0}
	}
	slices.SortFunc(numbers, cmp.Compare[uint64])
	return numbers, nil
}

// segmentAt returns the segment that a position lies in.
func (l *ledger) segmentAt(pos int64) *segment {
	after := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].base > pos })
	return l.segments[after-1]
}

// active returns the segment that is written to.
func (l *ledger) active() *segment { return l.segments[len(l.segments)-1] }

// spent returns the oldest segment if nothing in it is needed any more. Marks in later segments may concern its
// entries, so segments go in order.
func (l *ledger) spent() *segment {
	if s := l.segments[0]; len(l.segments) > 1 && s.live == 0 {
		return s
	}
	return nil
}

// sweep removes the segments that are spent. What they held of pending entries is on the disk in a later one first.
func (j *Journal) sweep() error {
	for {
		s := j.sweepable()
		if s == nil {
			return nil
		}
		if err := errors.Join(j.aside.save(), j.syncName()); err != nil {
			return err
		}
		if err := j.disk.Remove(s.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", s.name(), err)
		}
		if err := j.disk.Sync(); err != nil { // before a later one: its marks must not go first
			return fmt.Errorf("remove %s: %w", s.name(), err)
		}
		j.forget(s)
	}
}

func (j *Journal) sweepable() *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.syncErr != nil {
		return nil // it may be needed yet
	}
	return j.ledger.spent()
}

// forget takes the oldest segment, which is removed, out of the ledger.
func (j *Journal) forget(s *segment) {
	j.mu.Lock()
	j.ledger.segments = slices.Delete(j.ledger.segments, 0, 1)
	j.sealed -= s.size
	j.mu.Unlock()
	_ = s.file.Close() // nothing in it is needed any more
}

// syncName syncs the active segment unless that has happened since it got its name.
func (j *Journal) syncName() error {
	j.syncing.Lock()
	named := j.named
	j.syncing.Unlock()
	if named {
		return nil
	}
	return j.sync()
}
