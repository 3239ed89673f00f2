package journal

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// batchSize is how much is written by one call, give or take a record; what comes then opens the next batch.
const batchSize = 1 << 20

// An entry and the reason why it is set aside must fit in one record together. Token replies are at most 256 KiB.
const (
	maxEntry  = maxRecord / 2
	maxReason = 4 << 10
)

// op is one record on its way into the log, and what it does to the ledger.
type op struct {
	kind     byte
	id       string
	at       time.Time
	revision uint64 // of kindCommit
	rec      []byte // of kindEntry; marks are encoded into the batch
	from, to int    // where the record is in the batch
}

// batch is what is written together.
type batch struct {
	ops     []op
	buf     []byte
	entries int // ops of kindEntry

	done     chan struct{} // closed when the errors stand
	writeErr error
	syncErr  error // concerns entries only, and only with Config.Sync
}

// Append adds a pending entry and returns when it survives the death of the process, with Config.Sync also the loss
// of power. At is set to the present time. An entry may have 8 MiB.
//
// Errors: ErrFull and ErrClosed; what the disk said. After them the entry is not in the journal. ErrNotSynced (only with
// Config.Sync): the entry is in the journal, but power loss may take it.
func (j *Journal) Append(e Entry) error {
	if e.ID == "" {
		return errors.New("append journal entry: it has no id")
	}
	if entrySize(e) > maxEntry {
		return fmt.Errorf("append journal entry %s: %d bytes are too many, %d at most", e.ID, entrySize(e), maxEntry)
	}
	e.At = time.Now()
	o := op{kind: kindEntry, id: strings.Clone(e.ID), at: e.At, rec: encodeEntry(e)}
	if err := j.do(o); err != nil {
		return fmt.Errorf("append journal entry %s: %w", e.ID, err)
	}
	return nil
}

// Committed records that the outcome is in the bucket at a revision. The entry is kept for KeepFor, counted from the
// last call. An entry that had to be committed again is marked again. ErrUnknown: there is no such entry (any more).
// After another error the mark holds in memory only: after a restart the entry is pending again.
func (j *Journal) Committed(id string, revision uint64) error {
	if j.cfg.KeepFor < 0 {
		return j.Retire(id)
	}
	return j.mark(op{kind: kindCommit, id: id, at: time.Now(), revision: revision})
}

// Retire drops an entry at once: there is nothing to keep. Errors as for Committed.
func (j *Journal) Retire(id string) error {
	return j.mark(op{kind: kindRetire, id: id})
}

func (j *Journal) mark(o op) error {
	if err := j.do(o); err != nil {
		return fmt.Errorf("mark journal entry %s: %w", o.id, err)
	}
	return nil
}

// SetAside takes an entry out of the work and keeps it, sealed, in aside.log, synced. The reason is shown as it is:
// it must not hold a secret, and what exceeds 4 KiB of it is cut off. ErrUnknown: there is no such entry (any more). After another error the entry stays as it was.
func (j *Journal) SetAside(id, reason string) error {
	j.aside.mu.Lock()
	defer j.aside.mu.Unlock()
	e, err := j.find(id)
	reason = reason[:min(len(reason), maxReason)]
	if err == nil {
		err = j.aside.setAside(AsideEntry{Entry: e, Reason: reason, AsideAt: time.Now()})
	}
	if err != nil {
		return fmt.Errorf("set journal entry %s aside: %w", id, err)
	}
	_ = j.Retire(id) // without its mark the entry is dropped all the same: at the next start aside.log prevails
	return nil
}

// do brings one op into the log and the ledger, together with those of others.
func (j *Journal) do(o op) error {
	b, first, err := j.join(o)
	if err != nil {
		return err
	}
	if first {
		j.flush(b)
	}
	<-b.done
	if b.writeErr != nil || o.kind != kindEntry {
		return b.writeErr
	}
	return b.syncErr
}

// join adds the op to the open batch. Whoever opens a batch has to flush it.
func (j *Journal) join(o op) (b *batch, first bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.admit(o); err != nil {
		return nil, false, err
	}
	if first = j.open == nil; first {
		j.open = &batch{ops: j.spareOps[:0], buf: j.spare[:0], done: make(chan struct{})}
		j.spareOps, j.spare = nil, nil
	}
	b = j.open
	j.queued += int64(b.add(o))
	if len(b.buf) >= batchSize {
		j.open = nil
	}
	return b, first, nil
}

// add returns how many bytes the record takes.
func (b *batch) add(o op) int {
	o.from = len(b.buf)
	switch o.kind {
	case kindEntry:
		b.buf = append(b.buf, o.rec...)
		b.entries++
	case kindCommit:
		b.buf = appendCommit(b.buf, o.id, o.at, o.revision)
	case kindRetire:
		b.buf = appendRetire(b.buf, o.id)
	}
	o.to = len(b.buf)
	b.ops = append(b.ops, o)
	return o.to - o.from
}

// admit refuses what cannot be done. The caller holds mu.
func (j *Journal) admit(o op) error {
	switch {
	case j.closed:
		return ErrClosed
	case o.kind != kindEntry && !j.ledger.has(o.id):
		return ErrUnknown
	case o.kind == kindEntry && j.bytes()+j.queued+int64(len(o.rec)) > j.cfg.MaxBytes:
		j.expire()
		return j.full()
	}
	return nil
}

// flush writes a batch. While it waits for its turn, others join.
func (j *Journal) flush(b *batch) {
	j.io.Lock()
	defer j.io.Unlock()
	defer close(b.done)
	j.mu.Lock()
	if j.open == b {
		j.open = nil
	}
	j.mu.Unlock()
	b.writeErr = j.write(b.buf)
	j.apply(b)
	if j.cfg.Sync && b.entries > 0 && b.writeErr == nil {
		b.syncErr = j.sync()
	}
}

// write puts p at the end of the log. What a failed write left behind is cut off before the next. The caller holds io.
func (j *Journal) write(p []byte) error {
	if j.lost != nil {
		return j.lost
	}
	if j.torn {
		if err := j.file.Truncate(j.size); err != nil {
			return fmt.Errorf("cut off a failed write: %w", err)
		}
		j.torn = false
	}
	_, err := j.file.WriteAt(p, j.size)
	if err != nil {
		j.torn = j.file.Truncate(j.size) != nil
	}
	return err
}

// apply brings the ledger up to date with what was written, or was not. The caller holds io.
func (j *Journal) apply(b *batch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queued -= int64(len(b.buf))
	written := b.writeErr == nil
	for _, o := range b.ops {
		j.applyOp(o, b.buf[o.from:o.to], written)
	}
	if written {
		j.size += int64(len(b.buf))
	}
	if j.turning && written {
		j.delta = append(j.delta, b.buf...)
	}
	j.writeErr = b.writeErr
	clear(b.ops) // what they refer to is not to be kept
	if cap(b.buf) <= 2*batchSize {
		j.spareOps, j.spare = b.ops, b.buf
	}
	b.ops, b.buf = nil, nil
	j.expire()
	if !written || (b.entries > 0 && !j.armed && !j.cfg.Sync) {
		j.wake()
	}
}

// applyOp does what the op says. An entry that was not written is not there; a mark holds all the same, and is written
// later.
func (j *Journal) applyOp(o op, rec []byte, written bool) {
	if written || o.kind != kindEntry {
		j.ledger.apply(o, j.ledger.active().base+j.size+int64(o.from))
	}
	if !written && o.kind != kindEntry {
		j.missed = append(j.missed, rec...)
	}
}

// Hold keeps committed entries beyond KeepFor, until Release: for as long as the server that has them may turn out to have lost
// them.
func (j *Journal) Hold() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = true
}

// Release lets committed entries go again when they are KeepFor old.
func (j *Journal) Release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = false
	j.expire()
}

// expire lets go of what is kept long enough, and of the files it was in. The caller holds mu.
func (j *Journal) expire() {
	if !j.held {
		j.ledger.expire(time.Now(), j.cfg.KeepFor)
	}
	if j.turnDue() || (j.ledger.spent() != nil && j.syncErr == nil) {
		j.wake()
	}
}

// wake tells maintenance that there may be something to do.
func (j *Journal) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}
