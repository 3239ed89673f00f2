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
	j.tidy()
	go j.maintain()
	return j, nil
}

// load reads both logs and opens them for writing.
func load(d disk, dir string, cfg Config) (*Journal, error) {
	_ = os.Remove(filepath.Join(dir, tmpName)) // the next rewrite would empty it anyway
	found, err := recoverLog(dir)
	if err != nil {
		return nil, err
	}
	aside, known, err := openAside(dir, d)
	if err != nil {
		return nil, err
	}
	aside.keep(found.unreadable, known)
	found.dropAside(known)
	found.ledger.settle(time.Now())
	f, err := d.Open(logName, false)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", logName, err), aside.file.Close())
	}
	for _, u := range found.unreadable {
		cfg.OnError(fmt.Errorf("journal in %s is damaged, the bytes are kept in %s: %s", dir, asideName, u.Reason))
	}
	return &Journal{
		cfg: cfg, dir: dir, disk: d, aside: aside, file: f, size: found.size, ledger: found.ledger, garbage: found.garbage,
		kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// tidy rewrites a damaged log before anything is added to it. Where that fails (a full disk), maintenance tries again:
// readers find their way across the damage.
func (j *Journal) tidy() {
	j.mu.Lock()
	j.ledger.expire(time.Now(), j.cfg.KeepFor)
	garbage := j.garbage
	j.mu.Unlock()
	if garbage {
		j.tryRepair()
	}
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
		_ = j.rewrite() // the only cure; whether it worked shows below
	}
	j.aside.mu.Lock()
	defer j.aside.mu.Unlock()
	j.io.Lock()
	defer j.io.Unlock()
	j.lost = ErrClosed // for batches that have not been written yet
	return errors.Join(j.syncPending(), j.file.Close(), j.aside.file.Close(), j.lock.Close())
}
