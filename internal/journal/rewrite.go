package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// chunkSize is how much of a rewrite is written and synced at a time: none of its syncs takes long, and entries that
// wait for theirs get it in between.
const chunkSize = 4 << 20

// rewrite replaces the log by one that holds only what lives, taken from memory. Appends go on meanwhile: they go to
// the old file, and are copied from the delta. They are held up only while the last of the delta is written and the
// file gets its name.
func (j *Journal) rewrite() error {
	if err := j.aside.save(); err != nil {
		return err
	}
	f, err := j.disk.Open(tmpName, true)
	if err != nil {
		return fmt.Errorf("rewrite journal: %w", err)
	}
	r := &replacement{file: f}
	if err := j.fill(r); err != nil {
		return fmt.Errorf("rewrite journal: %w", j.abandon(r, err))
	}
	if err := j.replace(r); err != nil {
		return fmt.Errorf("rewrite journal: %w", j.abandon(r, err))
	}
	return j.sync()
}

// replacement is the new log while it grows.
type replacement struct {
	file file
	size int64
}

func (r *replacement) write(p []byte) error {
	_, err := r.file.WriteAt(p, r.size)
	r.size += int64(len(p))
	return err
}

// fill writes what lives and what came meanwhile, and syncs it.
func (j *Journal) fill(r *replacement) error {
	if err := j.fillLive(r, j.beginRewrite()); err != nil {
		return err
	}
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

// beginRewrite returns what lives now; what comes from now on is in the delta.
func (j *Journal) beginRewrite() []slot {
	j.io.Lock() // no batch is half way
	defer j.io.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ledger.expire(time.Now(), j.cfg.KeepFor)
	j.rewriting, j.delta = true, nil
	return j.ledger.snapshot(func(*slot) bool { return true })
}

func (j *Journal) takeDelta() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	delta := j.delta
	j.delta = nil
	return delta
}

// fillLive writes entries and their marks.
func (j *Journal) fillLive(r *replacement, live []slot) error {
	sortByArrival(live)
	var chunk []byte
	for i, s := range live {
		chunk = append(chunk, s.rec...)
		if !s.isPending() {
			chunk = append(chunk, encodeCommit(s.id, s.committed, s.revision)...)
		}
		if len(chunk) < chunkSize && i < len(live)-1 {
			continue
		}
		if err := errors.Join(r.write(chunk), r.file.Sync()); err != nil {
			return err
		}
		chunk = chunk[:0]
		_ = j.syncDue() // keeps the promise of SyncAfter in the old log; should it fail, the rewrite is the cure
	}
	return nil
}

// replace gives the new log the old one's name and place.
func (j *Journal) replace(r *replacement) error {
	j.io.Lock()
	defer j.io.Unlock()
	delta := j.takeDelta()
	err := r.write(delta)
	if err == nil && j.cfg.Sync && len(delta) > 0 {
		err = r.file.Sync() // it holds entries that are promised to be on the disk
	}
	if err == nil {
		err = j.rename(r.file)
	}
	if err != nil {
		return err
	}
	j.install(r)
	return nil
}

// rename moves the new log into place. When it fails, a look at the directory tells whether it did.
func (j *Journal) rename(f file) error {
	err := j.disk.Rename(tmpName, logName)
	if err == nil {
		return nil
	}
	moved, lookErr := j.disk.Holds(logName, f)
	if lookErr == nil && moved {
		return nil
	}
	if lookErr != nil {
		err = errors.Join(err, lookErr)
		j.lost = fmt.Errorf("which file is the log is not known: %w", err)
		j.mu.Lock()
		j.syncErr = j.lost
		j.mu.Unlock()
	}
	return err
}

// install makes the new log the journal's file. The caller holds io.
func (j *Journal) install(r *replacement) {
	j.syncing.Lock()
	old := j.file
	j.file, j.named = r.file, false
	j.syncing.Unlock()
	j.torn, j.lost = false, nil
	j.mu.Lock()
	j.size, j.rewriting, j.garbage, j.syncErr = r.size, false, false, nil
	j.mu.Unlock()
	_ = old.Close() // nothing in it is needed any more
}

// abandon gives a rewrite up.
func (j *Journal) abandon(r *replacement, err error) error {
	j.mu.Lock()
	j.rewriting, j.delta = false, nil
	j.mu.Unlock()
	_ = os.Remove(filepath.Join(j.dir, tmpName)) // it is emptied by the next rewrite anyway
	return errors.Join(err, r.file.Close())
}
