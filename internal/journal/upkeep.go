package journal

import (
	"fmt"
	"time"
)

const (
	// maxDelay bounds the pause between two tries of a repair that fails.
	maxDelay = time.Minute
	// probeSize is more than a usual reply, so that a disk on which the probe fits takes one.
	probeSize = 64 << 10
)

// upkeep is what the maintenance goroutine remembers.
type upkeep struct {
	retryAt  time.Time     // no repair before
	delay    time.Duration // the last pause after a failure; 0 after a success
	reported string        // the failure that OnError knows of
}

// maintain syncs, begins and removes segments, and repairs until the journal is closed.
func (j *Journal) maintain() {
	defer close(j.done)
	for {
		j.tend()
		var alarm <-chan time.Time
		if wait, ok := j.next(); ok {
			alarm = time.After(wait)
		}
		select {
		case <-j.stop:
			return
		case <-j.kick:
		case <-alarm:
		}
	}
}

// tend does what is due now.
func (j *Journal) tend() {
	if err := j.syncDue(); err != nil {
		j.report(err)
	}
	if !time.Now().Before(j.upkeep.retryAt) {
		j.tryRepair()
	}
}

// tryRepair repairs what is broken and tells, and puts off the next try if that fails.
func (j *Journal) tryRepair() {
	u := &j.upkeep
	err := j.repair()
	j.report(err)
	if err == nil {
		u.delay = 0
		return
	}
	u.delay = min(max(2*u.delay, j.cfg.SyncAfter), maxDelay)
	u.retryAt = time.Now().Add(u.delay)
}

// report tells OnError about a failure that it does not know of yet.
func (j *Journal) report(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if news := text != j.upkeep.reported; news && err != nil {
		j.cfg.OnError(fmt.Errorf("journal: %w", err))
	}
	j.upkeep.reported = text
}

// repair brings the log back into order, as far as it is not.
func (j *Journal) repair() error {
	j.mu.Lock()
	turn, probe := j.turnDue(), j.writeErr != nil
	j.mu.Unlock()
	if turn {
		if err := j.turn(); err != nil {
			return err
		}
	}
	if err := j.sweep(); err != nil {
		return err
	}
	if probe {
		return j.probe()
	}
	return nil
}

// probe finds out whether the disk takes writes again. No attempt starts while it does not, so nobody else would.
func (j *Journal) probe() error {
	j.io.Lock()
	defer j.io.Unlock()
	err := j.write(make([]byte, probeSize))
	if err == nil {
		j.torn = j.file.Truncate(j.size) != nil
	}
	j.mu.Lock()
	j.writeErr = err
	j.mu.Unlock()
	return err
}

// syncDue syncs the log when an entry has waited long enough for its commit.
func (j *Journal) syncDue() error {
	j.mu.Lock()
	s := j.ledger.oldestUnsynced()
	due := s != nil && j.syncErr == nil && time.Since(s.at) >= j.cfg.SyncAfter
	j.mu.Unlock()
	if !due {
		return nil
	}
	return j.sync()
}

// syncPending syncs the log when any pending entry needs it.
func (j *Journal) syncPending() error {
	j.mu.Lock()
	needed := j.ledger.oldestUnsynced() != nil
	j.mu.Unlock()
	if !needed {
		return nil
	}
	return j.sync()
}

// suspect tells whether a sync has failed since the log was written.
func (j *Journal) suspect() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncErr != nil
}

// sync brings everything that is in the ledger to the disk. After a failure the operating system may have forgotten
// what it could not write, and a second sync would succeed without it: from then on only a new segment helps.
func (j *Journal) sync() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	last, err := j.ledger.last, j.syncErr
	j.mu.Unlock()
	if err == nil && !j.named {
		err = j.disk.Sync()
		j.named = err == nil
	}
	if err == nil {
		err = j.file.Sync()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.syncErr = err
		j.wake()
		return fmt.Errorf("%w: %w", ErrNotSynced, err)
	}
	j.ledger.reached(last)
	return nil
}

// next returns how long maintenance may sleep; false means until somebody wakes it.
func (j *Journal) next() (time.Duration, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var wake time.Time
	if s := j.ledger.oldestUnsynced(); s != nil && j.syncErr == nil {
		wake = s.at.Add(j.cfg.SyncAfter)
	}
	ailing := j.turnDue() || j.writeErr != nil || (j.ledger.spent() != nil && j.syncErr == nil)
	if ailing && (wake.IsZero() || j.upkeep.retryAt.Before(wake)) {
		wake = j.upkeep.retryAt
	}
	j.armed = !wake.IsZero()
	return time.Until(wake), j.armed
}
