package journal

import (
	"fmt"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

const (
	logName = "journal.log"
	tmpName = "journal.log.tmp"
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

	io   sync.Mutex // held while the log is written or replaced
	torn bool       // under io: a failed write may have left bytes behind the end
	lost error      // under io: it is not known which file bears the log's name

	syncing sync.Mutex // held while the log is synced; with io also while it is replaced
	file    file       // under io or syncing
	named   bool       // under syncing: the file's name is on the disk

	mu        sync.Mutex // guards all that follows, for short times only
	ledger    *ledger
	size      int64  // of the log; changed under io too
	queued    int64  // bytes of batches that are not written yet
	open      *batch // takes what comes; nil if none
	spare     []byte // a batch's buffer for the next one
	rewriting bool   // delta collects what is written meanwhile
	delta     []byte
	garbage   bool  // the log holds unreadable bytes
	writeErr  error // the last write failed
	syncErr   error // a sync failed: what is on the disk is unknown until the log is rewritten
	armed     bool  // maintenance has a wake-up time
	closed    bool

	upkeep upkeep // of the maintenance goroutine alone
}

// Pending returns the entries whose commit is not known, oldest first.
func (j *Journal) Pending() []Entry {
	return j.entries((*slot).isPending)
}

// Recent returns the entries that are committed and still kept, in the order of their arrival.
func (j *Journal) Recent() []Entry {
	return j.entries(func(s *slot) bool { return !s.isPending() })
}

// Has reports whether an entry is there, pending or committed and still kept.
func (j *Journal) Has(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ledger.expire(time.Now(), j.cfg.KeepFor)
	return j.ledger.live[id] != nil
}

func (j *Journal) entries(accept func(*slot) bool) []Entry {
	j.mu.Lock()
	j.ledger.expire(time.Now(), j.cfg.KeepFor)
	found := j.ledger.snapshot(accept)
	j.mu.Unlock()
	return entries(found)
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
	j.ledger.expire(time.Now(), j.cfg.KeepFor)
	if j.rewriteDue() {
		j.wake()
	}
	switch {
	case j.closed:
		return ErrClosed
	case j.writeErr != nil:
		return fmt.Errorf("journal cannot be written: %w", j.writeErr)
	case j.syncErr != nil:
		return fmt.Errorf("%w: %w", ErrNotSynced, j.syncErr)
	case j.size+j.queued > j.cfg.MaxBytes-j.cfg.MaxBytes/8:
		return j.full()
	}
	return nil
}

// full says what the matter is. The caller holds mu.
func (j *Journal) full() error {
	recent := len(j.ledger.live) - j.ledger.pending
	return fmt.Errorf("%w: %d of %d bytes, %d entries pending, %d committed and kept for %v",
		ErrFull, j.size, j.cfg.MaxBytes, j.ledger.pending, recent, j.cfg.KeepFor)
}

// Stats is a journal in numbers.
type Stats struct {
	Pending    int   // entries whose commit is not known
	Recent     int   // entries committed and still kept
	Aside      int   // entries set aside
	Unreadable int   // stretches of damaged files that are kept, 1 MiB at most each
	Bytes      int64 // size of journal.log
	LiveBytes  int64 // what it would measure right after a rewrite
	AsideBytes int64 // size of aside.log
}

// Stats counts.
func (j *Journal) Stats() Stats {
	j.aside.mu.Lock()
	s := Stats{Aside: j.aside.entries, Unreadable: j.aside.stretches, AsideBytes: j.aside.size}
	j.aside.mu.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ledger.expire(time.Now(), j.cfg.KeepFor)
	s.Pending, s.Recent = j.ledger.pending, len(j.ledger.live)-j.ledger.pending
	s.Bytes, s.LiveBytes = j.size, j.ledger.bytes
	return s
}
