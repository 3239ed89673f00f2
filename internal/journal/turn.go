package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	// segmentSize is how much besides pending entries makes a new segment due.
	segmentSize = 16 << 20
	// chunkSize is how much of a new segment is written and synced at a time: none of its syncs takes long, and entries
	// that wait for theirs get it in between.
	chunkSize = 4 << 20
)

// turnDue tells whether a new segment must be begun: because the active one is in doubt, or lacks marks that can be
// written now, or because it is big beside what is pending. In a log that fills half its bound an eighth of the bound
// is big enough, if it can be dropped at once: the worker is about to stop. The caller holds mu.
func (j *Journal) turnDue() bool {
	if j.syncErr != nil || j.force || (len(j.missed) > 0 && j.writeErr == nil) {
		return true
	}
	rest, eighth := j.size-j.ledger.bytes, j.cfg.MaxBytes/8
	if j.ledger.recent.live == 0 { // nothing keeps the old one
		return rest >= max(j.ledger.bytes, segmentSize) || rest >= max(eighth, 1) && j.bytes() >= 4*eighth
	}
	room := j.bytes()+j.ledger.bytes <= j.cfg.MaxBytes-eighth
	return room && rest >= max(j.ledger.bytes, min(segmentSize, eighth), 1)
}

// turn begins a new segment with copies of all that is pending, from memory. Appends go on meanwhile: they go to
// the old segment, and are copied from the delta. They are held up only while the last of the delta is written and the
// new segment gets its name. The old one stays for the recent entries in it.
func (j *Journal) turn() error {
	f, err := j.disk.Open(tmpName, true)
	if err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	r := &replacement{file: f}
	if err := j.fill(r); err != nil {
		return fmt.Errorf("begin a segment: %w", j.abandon(r, err))
	}
	if err := j.replace(r); err != nil {
		return fmt.Errorf("begin a segment: %w", j.abandon(r, err))
	}
	return j.sync()
}

// replacement is the next segment while it grows.
type replacement struct {
	file    file
	size    int64
	marks   []byte // what the old segment lacks
	carried []slot // what was pending at first; their positions are made offsets in this file
	last    uint64 // the last of them
	from    int64  // position of what came since, in the old segment
	delta   int64  // offset of its copy in this file
}

func (r *replacement) write(p []byte) error {
	_, err := r.file.WriteAt(p, r.size)
	r.size += int64(len(p))
	return err
}

// fill writes what is pending and what came meanwhile, and syncs it.
func (j *Journal) fill(r *replacement) error {
	j.beginTurn(r)
	if err := j.fillPending(r); err != nil {
		return err
	}
	r.delta = r.size
	for {
		delta := j.takeDelta()
		if err := r.write(delta); err != nil {
			return err
		}
		if len(delta) < batchSize {
			return r.file.Sync()
		}
	}
}

// beginTurn notes what is pending now; what comes from now on is in the delta.
func (j *Journal) beginTurn(r *replacement) {
	j.io.Lock() // no batch is half way
	defer j.io.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.turning, j.delta = true, nil
	r.marks, r.carried = j.missed[:len(j.missed):len(j.missed)], j.ledger.snapshot()
	r.last, r.from = j.ledger.last, j.ledger.active().base+j.size
}

func (j *Journal) takeDelta() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	delta := j.delta
	j.delta = nil
	return delta
}

// fillPending writes missed marks, then the pending entries.
func (j *Journal) fillPending(r *replacement) error {
	sortByArrival(r.carried)
	chunk := append([]byte(nil), r.marks...)
	for i := range r.carried {
		s := &r.carried[i]
		s.pos = r.size + int64(len(chunk))
		if chunk = append(chunk, s.rec...); len(chunk) < chunkSize {
			continue
		}
		if err := errors.Join(r.write(chunk), r.file.Sync()); err != nil {
			return err
		}
		chunk = chunk[:0]
		_ = j.syncDue() // keeps the promise of SyncAfter in the old segment; should it fail, the new one is the cure
	}
	return errors.Join(r.write(chunk), r.file.Sync())
}

// replace gives the new segment its name and makes it the active one.
func (j *Journal) replace(r *replacement) error {
	j.io.Lock()
	defer j.io.Unlock()
	delta := j.takeDelta()
	err := r.write(delta)
	if err == nil && j.cfg.Sync && len(delta) > 0 {
		err = r.file.Sync() // it holds entries that are promised to be on the disk
	}
	next := j.ledger.active().number + 1 // changed by this goroutine alone
	if err == nil {
		err = j.rename(r.file, segmentName(next))
	}
	if err != nil {
		return err
	}
	j.install(r, next)
	return nil
}

// rename moves the new segment into place. When it fails, a look at the directory tells whether it did.
func (j *Journal) rename(f file, name string) error {
	err := j.disk.Rename(tmpName, name)
	if err == nil {
		return nil
	}
	moved, lookErr := j.disk.Holds(name, f)
	if lookErr == nil && moved {
		return nil
	}
	if lookErr != nil {
		err = errors.Join(err, lookErr)
		j.lost = fmt.Errorf("whether %s is there is not known: %w", name, err)
		j.mu.Lock()
		j.syncErr = j.lost
		j.mu.Unlock()
	}
	return err
}

// install makes the new segment the active one. The caller holds io.
func (j *Journal) install(r *replacement, number uint64) {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.file, j.named = r.file, false
	j.torn, j.lost = false, nil
	j.mu.Lock()
	defer j.mu.Unlock()
	old := j.ledger.active()
	old.size = j.size
	s := &segment{number: number, base: old.base + old.size, file: r.file}
	j.ledger.segments = append(j.ledger.segments, s)
	j.relocate(r, s)
	j.missed = append([]byte(nil), j.missed[len(r.marks):]...)
	j.sealed, j.size = j.sealed+old.size, r.size
	j.turning, j.force, j.syncErr = false, false, nil
}

// relocate notes where the records of entries that are still pending have been copied to. The caller holds mu.
func (j *Journal) relocate(r *replacement, to *segment) {
	for _, c := range r.carried {
		if s := j.ledger.pending[c.id]; s != nil && s.seq == c.seq {
			j.ledger.move(s, to, c.pos)
		}
	}
	for _, s := range j.ledger.pending {
		if s.seq > r.last {
			j.ledger.move(s, to, r.delta+s.pos-r.from)
		}
	}
}

// abandon gives a new segment up.
func (j *Journal) abandon(r *replacement, err error) error {
	j.mu.Lock()
	j.turning, j.delta = false, nil
	j.mu.Unlock()
	_ = os.Remove(filepath.Join(j.dir, tmpName)) // it is emptied by the next try anyway
	return errors.Join(err, r.file.Close())
}
