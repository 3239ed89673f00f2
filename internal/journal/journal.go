package journal

import (
	"fmt"
	"sync"

	"github.com/gofrs/flock"
)

// Journal is an open journal. Use Open.
type Journal struct {
	cfg   Config
	dir   string
	disk  disk
	lock  *flock.Flock
	aside *asideLog

	kick chan struct{} // wakes the maintenance goroutine
	stop chan struct{} // closed by Close
	done chan struct{} // closed when the maintenance goroutine has ended

	io   sync.Mutex // held while the active segment is written or replaced
	torn bool       // under io: a failed write may have left bytes behind the end
	lost error      // under io: it is not known whether the next segment is there

	syncing sync.Mutex // held while the active segment is synced; with io also while it is replaced
	file    file       // the active segment's; under io or syncing
	named   bool       // under syncing: its name is on the disk

	mu       sync.Mutex // guards all that follows, for short times only
	ledger   *ledger
	size     int64  // of the active segment; changed under io too
	sealed   int64  // of the other segments
	queued   int64  // bytes of batches that are not written yet
	open     *batch // takes what comes; nil if none
	spare    []byte // a batch's buffer for the next one
	spareOps []op
	turning  bool // delta collects what is written meanwhile
	delta    []byte
	missed   []byte // marks that could not be written: the next segment begins with them
	force    bool   // a new segment is due, whatever the sizes are
	writeErr error  // the last write failed
	syncErr  error  // a sync failed: what is on the disk is unknown until a new segment is there
	unread   int    // times a recent entry could not be read back; OnError hears of the first
	armed    bool   // maintenance has a wake-up time
	closed   bool
	held     bool // nothing expires

	upkeep upkeep // of the maintenance goroutine alone
}

// Pending returns the entries whose commit is not known, oldest first.
func (j *Journal) Pending() []Entry {
	j.mu.Lock()
	slots := j.ledger.snapshot()
	j.mu.Unlock()
	sortByArrival(slots)
	found := make([]Entry, len(slots))
	for i := range slots {
		found[i] = slots[i].entry()
	}
	return found
}

// Has reports whether an entry is there, pending or committed and still kept.
func (j *Journal) Has(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expire()
	return j.ledger.has(id)
}

// Aside returns what was set aside and what could not be read, oldest first. It reads the file.
func (j *Journal) Aside() ([]AsideEntry, error) {
	return j.aside.list()
}

// Writable is nil when an Append can be expected to work: no attempt should start when it is not. It reports ErrFull
// early, while an eighth of MaxBytes is free, to leave room for the attempts that are under way. It does no I/O.
func (j *Journal) Writable() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expire()
	switch {
	case j.closed:
		return ErrClosed
	case j.writeErr != nil:
		return fmt.Errorf("journal cannot be written: %w", j.writeErr)
	case j.syncErr != nil:
		return fmt.Errorf("%w: %w", ErrNotSynced, j.syncErr)
	case j.bytes()+j.queued > j.cfg.MaxBytes-j.cfg.MaxBytes/8:
		return j.full()
	}
	return nil
}

// full says what the matter is. The caller holds mu.
func (j *Journal) full() error {
	return fmt.Errorf("%w: %d of %d bytes, %d entries pending, %d committed and kept for %v",
		ErrFull, j.bytes(), j.cfg.MaxBytes, len(j.ledger.pending), j.ledger.recent.live, j.cfg.KeepFor)
}

// bytes returns what the segments measure. The caller holds mu.
func (j *Journal) bytes() int64 { return j.sealed + j.size }

// Stats is a journal in numbers.
type Stats struct {
	Pending    int   // entries whose commit is not known
	Recent     int   // entries committed and still kept
	Aside      int   // entries set aside
	Unreadable int   // stretches of damaged files that are kept, 1 MiB at most each
	Unread     int   // times a committed entry could not be read back since Open
	Bytes      int64 // size of the log, all segments
	LiveBytes  int64 // size of the records of pending and recent entries in it
	AsideBytes int64 // size of aside.log
}

// Stats counts.
func (j *Journal) Stats() Stats {
	j.aside.mu.Lock()
	s := Stats{Aside: j.aside.entries, Unreadable: j.aside.stretches, AsideBytes: j.aside.size}
	j.aside.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expire()
	s.Pending, s.Recent, s.Unread = len(j.ledger.pending), j.ledger.recent.live, j.unread
	s.Bytes, s.LiveBytes = j.bytes(), j.ledger.bytes+j.ledger.recent.bytes
	return s
}
