package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Open opens the journal in dir, creating the directory (0700) and its files (0600) where they are missing.
// It fails with ErrLocked while another process uses the directory. Damage in the files is no reason to fail: see the
// package documentation. The caller must Close the journal.
func Open(dir string, cfg Config) (*Journal, error) {
	return openOn(osDisk(dir), dir, cfg)
}

func openOn(d disk, dir string, cfg Config) (*Journal, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l, err := lock(dir)
	if err != nil {
		return nil, err
	}
	j, err := load(d, dir, cfg.withDefaults())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal in %s: %w", dir, err), l.Close())
	}
	j.lock = l
	go j.maintain()
	return j, nil
}

// load reads the files and opens them for writing.
func load(d disk, dir string, cfg Config) (*Journal, error) {
	_ = os.Remove(filepath.Join(dir, tmpName)) // it would be emptied anyway
	aside, known, err := openAside(dir, d)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		cfg: cfg, dir: dir, disk: d, aside: aside, ledger: newLedger(time.Now()), held: cfg.Held,
		kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	numbers, err := listSegments(dir)
	for _, n := range numbers {
		if err == nil {
			err = j.loadSegment(n, known)
		}
	}
	if err != nil {
		return nil, errors.Join(err, j.closeFiles())
	}
	j.settle(known)
	return j, nil
}

// loadSegment reads a segment, mends it if need be, and makes it the active one.
func (j *Journal) loadSegment(number uint64, known []AsideEntry) error {
	name := segmentName(number)
	c, err := readSegment(j.dir, name)
	if err == nil && c.garbage {
		j.aside.keep(c.unreadable, known)
		for _, u := range c.unreadable {
			j.cfg.OnError(fmt.Errorf("journal in %s is damaged, the bytes are kept in %s: %s", j.dir, asideName, u.Reason))
		}
		if err := mend(j.disk, j.aside, name, c); err != nil {
			j.cfg.OnError(fmt.Errorf("journal in %s is damaged, and the next start tries to mend it again: %w", j.dir, err))
		}
		c, err = readSegment(j.dir, name)
	}
	if err != nil {
		return err
	}
	f, err := j.disk.Open(name, false)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	j.sealed += j.size
	j.ledger.segments = append(j.ledger.segments, &segment{number: number, base: j.sealed, size: int64(len(c.bytes)), file: f})
	j.file, j.size = f, int64(len(c.bytes))
	j.ledger.replay(c)
	return nil
}

// settle makes what was loaded ready for use.
func (j *Journal) settle(known []AsideEntry) {
	for _, a := range known { // the process died before it could mark them
		j.ledger.drop(a.ID)
	}
	j.ledger.settle(time.Now())
	for _, s := range j.ledger.pending {
		j.force = j.force || s.pos < j.ledger.active().base // only the active segment is synced
	}
	j.expire()
}

// Close waits for what is under way, syncs what is pending and releases the directory. Calls that come too late get
// ErrClosed. A second Close does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	if !first {
		return nil
	}
	close(j.stop)
	<-j.done
	if j.suspect() {
		_ = j.turn() // the only cure; whether it worked shows below
	}
	j.aside.mu.Lock()
	defer j.aside.mu.Unlock()
	j.io.Lock()
	defer j.io.Unlock()
	j.lost = ErrClosed // for batches that have not been written yet
	return errors.Join(j.syncPending(), j.closeFiles(), j.lock.Close())
}

func (j *Journal) closeFiles() error {
	err := j.aside.file.Close()
	for _, s := range j.ledger.segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
