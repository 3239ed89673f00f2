package journal

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"slices"
	"time"
)

// slot is one pending entry.
type slot struct {
	id   string
	rec  []byte // the entry's record; never modified
	pos  int64  // where the log has it
	seq  uint64 // order of arrival
	at   time.Time
	gone bool // no longer pending; arrivals may still hold it
}

// ledger is what the log says, in memory: the pending entries with their records, of the recent ones where the records
// are. It does no locking and no I/O.
type ledger struct {
	epoch time.Time // recent entries count their time from here; with a reading of the monotonic clock
	seeds [2]maphash.Seed

	pending  map[string]*slot
	bytes    int64 // of the records of pending entries
	recent   recents
	segments []*segment // oldest first; the last is written to
	arrivals []*slot    // in order of arrival, at least those that are pending and not synced
	last     uint64     // seq of the last arrival
	synced   uint64     // every arrival up to this one is on the disk
}

func newLedger(now time.Time) *ledger {
	return &ledger{
		epoch: now, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, pending: map[string]*slot{},
	}
}

func (l *ledger) identify(id string) identity {
	return identity{maphash.String(l.seeds[0], id), uint32(maphash.String(l.seeds[1], id))}
}

func (l *ledger) has(id string) bool {
	if l.pending[id] != nil {
		return true
	}
	_, i := l.recent.find(l.identify(id))
	return i != nil
}

// apply does what the op says; an entry's record is at pos.
func (l *ledger) apply(o op, pos int64) {
	switch o.kind {
	case kindEntry:
		l.put(&slot{id: o.id, rec: o.rec, pos: pos, at: o.at})
	case kindCommit:
		l.commit(o.id, o.at, o.revision)
	case kindRetire:
		l.drop(o.id)
	}
}

// put adds a pending entry; one with the same id gives way.
func (l *ledger) put(s *slot) {
	l.drop(s.id)
	l.last++
	s.seq = l.last
	l.pending[s.id] = s
	l.bytes += int64(len(s.rec))
	l.segmentAt(s.pos).live++
	l.arrivals = append(l.arrivals, s)
}

// commit marks an entry; again, when it had to be committed again.
func (l *ledger) commit(id string, at time.Time, revision uint64) {
	who := l.identify(id)
	i := item{a: who.a, b: who.b}
	if s := l.pending[id]; s != nil {
		i.pos, i.size = s.pos, uint32(len(s.rec))
		l.settled(s)
	} else if n, again := l.recent.find(who); again != nil {
		i = *again
		l.recent.remove(n)
	} else {
		return
	}
	i.at, i.revision = int64(at.Sub(l.epoch)), revision
	l.recent.push(i)
}

// settled takes a slot out; its record in the log may be needed yet.
func (l *ledger) settled(s *slot) {
	delete(l.pending, s.id)
	l.bytes -= int64(len(s.rec))
	s.gone, s.rec = true, nil
}

func (l *ledger) drop(id string) {
	if s := l.pending[id]; s != nil {
		l.settled(s)
		l.segmentAt(s.pos).live--
	} else if n, i := l.recent.find(l.identify(id)); i != nil {
		l.dropRecent(n, i)
	}
}

func (l *ledger) dropRecent(number uint64, i *item) {
	l.segmentAt(i.pos).live--
	l.recent.remove(number)
}

// expire drops the recent entries whose commit is keep old at now.
func (l *ledger) expire(now time.Time, keep time.Duration) {
	limit := int64(now.Sub(l.epoch) - keep)
	for n, i := l.recent.oldest(); i != nil && i.at <= limit; n, i = l.recent.oldest() {
		l.dropRecent(n, i)
	}
}

// time returns the time of day that an item's stands for.
func (l *ledger) time(at int64) time.Time { return l.epoch.Add(time.Duration(at)).Round(0).UTC() }

// reached notes that every arrival up to last is on the disk.
func (l *ledger) reached(last uint64) {
	l.synced = max(l.synced, last)
	l.oldestUnsynced() // lets go of the others
}

// oldestUnsynced returns the first pending entry that is not known to be on the disk, nil if there is none.
func (l *ledger) oldestUnsynced() *slot {
	for len(l.arrivals) > 0 {
		s := l.arrivals[0]
		if !s.gone && s.seq > l.synced {
			return s
		}
		l.arrivals[0] = nil
		l.arrivals = l.arrivals[1:]
	}
	return nil
}

// settle makes a ledger that was filled from a log ready for use: times in the future (the clock was set back) become
// now, and the recent entries are in order.
func (l *ledger) settle(now time.Time) {
	for _, s := range l.arrivals {
		if s.at.After(now) {
			s.at = now
		}
	}
	var all []item
	for n, i := l.recent.oldest(); i != nil; n, i = l.recent.oldest() {
		all = append(all, *i)
		l.recent.remove(n)
	}
	limit := int64(now.Sub(l.epoch))
	for k := range all {
		all[k].at = min(all[k].at, limit)
	}
	slices.SortStableFunc(all, func(a, b item) int { return cmp.Compare(a.at, b.at) })
	for _, i := range all {
		l.recent.push(i)
	}
}

// snapshot returns copies of the pending slots, in no order: the caller sorts them once it has left the lock.
func (l *ledger) snapshot() []slot {
	found := make([]slot, 0, len(l.pending))
	for _, s := range l.pending {
		found = append(found, *s)
	}
	return found
}

// move notes that a pending entry's record has been copied to another segment.
func (l *ledger) move(s *slot, to *segment, off int64) {
	l.segmentAt(s.pos).live--
	s.pos = to.base + off
	to.live++
}

func sortByArrival(slots []slot) {
	slices.SortFunc(slots, func(a, b slot) int { return cmp.Compare(a.seq, b.seq) })
}

// entry decodes the slot's record; the data is a copy.
func (s *slot) entry() Entry {
	d := decoder{rest: s.rec[headerSize:]}
	e := d.entry()
	e.Data = bytes.Clone(e.Data)
	return e
}
