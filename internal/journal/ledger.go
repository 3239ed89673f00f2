package journal

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// slot is one live entry.
type slot struct {
	id       string
	rec      []byte // the entry's record; never modified
	seq      uint64 // order of arrival
	at       time.Time
	markSize int // bytes of the commit mark, written or yet to be by a rewrite

	committed time.Time // zero while pending
	revision  uint64
	gone      bool // no longer live; queues may still hold it
}

// confirmation stands in the queue of recent entries; a later commit of the same entry makes it stale.
type confirmation struct {
	slot *slot
	at   time.Time
}

// ledger is what the log says, in memory: the live entries in the orders that the journal asks for.
// It does no locking and no I/O.
type ledger struct {
	live     map[string]*slot
	pending  int
	bytes    int64          // what a log without dead bytes would measure
	arrivals []*slot        // in order of arrival, at least those that are pending and not synced
	recent   []confirmation // in order of commit
	last     uint64         // seq of the last arrival
	synced   uint64         // every arrival up to this one is on the disk
}

// apply does what the op says. An entry that was not written is not there; a mark holds all the same.
func (l *ledger) apply(o op, written bool) {
	switch o.kind {
	case kindEntry:
		if written {
			l.put(&slot{id: o.id, rec: o.rec, at: o.at})
		}
	case kindCommit:
		l.commit(o.id, o.at, o.revision, len(o.rec))
	case kindRetire:
		l.drop(o.id)
	}
}

// put adds a pending entry; one with the same id gives way.
func (l *ledger) put(s *slot) {
	l.drop(s.id)
	l.last++
	s.seq = l.last
	l.live[s.id] = s
	l.pending++
	l.bytes += int64(len(s.rec))
	l.arrivals = append(l.arrivals, s)
}

// commit marks an entry; again, when it had to be committed again.
func (l *ledger) commit(id string, at time.Time, revision uint64, markSize int) {
	s := l.live[id]
	if s == nil {
		return
	}
	if s.isPending() {
		l.pending--
	}
	l.bytes += int64(markSize - s.markSize)
	s.committed, s.revision, s.markSize = at, revision, markSize
	l.recent = append(l.recent, confirmation{s, at})
}

func (l *ledger) drop(id string) {
	s := l.live[id]
	if s == nil {
		return
	}
	delete(l.live, id)
	if s.isPending() {
		l.pending--
	}
	l.bytes -= int64(len(s.rec) + s.markSize)
	s.gone, s.rec = true, nil
}

// expire drops the recent entries whose commit is keep old at now.
func (l *ledger) expire(now time.Time, keep time.Duration) {
	for len(l.recent) > 0 {
		c := l.recent[0]
		stale := c.slot.gone || !c.slot.committed.Equal(c.at)
		if !stale && now.Sub(c.at) < keep {
			return
		}
		if !stale {
			l.drop(c.slot.id)
		}
		l.recent[0] = confirmation{}
		l.recent = l.recent[1:]
	}
}

// reached notes that every arrival up to last is on the disk.
func (l *ledger) reached(last uint64) {
	l.synced = max(l.synced, last)
	l.oldestUnsynced() // lets go of the others
}

// oldestUnsynced returns the first pending entry that is not known to be on the disk, nil if there is none.
func (l *ledger) oldestUnsynced() *slot {
	for len(l.arrivals) > 0 {
		s := l.arrivals[0]
		if !s.gone && s.isPending() && s.seq > l.synced {
			return s
		}
		l.arrivals[0] = nil
		l.arrivals = l.arrivals[1:]
	}
	return nil
}

// settle makes a ledger that was filled from a log ready for use: times in the future (the clock was set back) become
// now, and the queue of recent entries is in order.
func (l *ledger) settle(now time.Time) {
	for _, s := range l.arrivals {
		if s.at.After(now) {
			s.at = now
		}
	}
	for i, c := range l.recent {
		if c.at.After(now) && c.slot.committed.Equal(c.at) {
			c.slot.committed = now
		}
		l.recent[i].at = c.slot.committed
	}
	slices.SortStableFunc(l.recent, func(a, b confirmation) int { return a.at.Compare(b.at) })
}

// snapshot returns copies of the live slots that accept, in no order: the caller sorts them once it has left the lock.
func (l *ledger) snapshot(accept func(*slot) bool) []slot {
	var found []slot
	for _, s := range l.live {
		if accept(s) {
			found = append(found, *s)
		}
	}
	return found
}

func sortByArrival(slots []slot) {
	slices.SortFunc(slots, func(a, b slot) int { return cmp.Compare(a.seq, b.seq) })
}

// entries decodes slots, oldest first.
func entries(slots []slot) []Entry {
	sortByArrival(slots)
	found := make([]Entry, len(slots))
	for i := range slots {
		found[i] = slots[i].entry()
	}
	return found
}

func (s *slot) isPending() bool { return s.committed.IsZero() }

// entry decodes the slot's record; the data is a copy.
func (s *slot) entry() Entry {
	d := decoder{rest: s.rec[headerSize:]}
	e := d.entry()
	e.Data = bytes.Clone(e.Data)
	e.Revision = s.revision
	if !s.isPending() {
		e.Committed = s.committed.Round(0).UTC()
	}
	return e
}
