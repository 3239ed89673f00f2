package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

var errCut = errors.New("the end is cut short or damaged")

// recovered is what a log was found to hold.
type recovered struct {
	ledger     *ledger
	size       int64
	unreadable []AsideEntry
	garbage    bool // the file holds bytes that are no record
}

// recoverLog reads the log. Damage is described, not an error.
func recoverLog(dir string) (recovered, error) {
	log, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return recovered{}, fmt.Errorf("read %s: %w", logName, err)
	}
	r := recovered{ledger: &ledger{live: map[string]*slot{}}, size: int64(len(log))}
	for p := range pieces(log) {
		if err := r.replay(p); err != nil {
			r.garbage = true
			r.note(p, err)
		}
	}
	return r, nil
}

// replay applies one record to the ledger.
func (r *recovered) replay(p piece) error {
	if !p.intact && int64(p.off+len(p.bytes)) == r.size {
		return errCut
	}
	if !p.intact {
		return errMalformed
	}
	d, kind, err := openBody(p.bytes)
	if err != nil {
		return err
	}
	switch kind {
	case kindEntry:
		return r.replayEntry(p, d)
	case kindCommit:
		return r.replayCommit(p, d)
	case kindRetire:
		id := d.text()
		if d.err() == nil {
			r.ledger.drop(id)
		}
		return d.err()
	}
	return fmt.Errorf("record of kind %d is not known", kind)
}

func (r *recovered) replayEntry(p piece, d decoder) error {
	e := d.entry()
	if d.err() != nil || e.ID == "" {
		return errMalformed
	}
	r.ledger.put(&slot{id: e.ID, rec: bytes.Clone(p.bytes), at: e.At})
	return nil
}

func (r *recovered) replayCommit(p piece, d decoder) error {
	id, at, revision := d.text(), d.time(), d.number()
	if err := d.err(); err != nil {
		return err
	}
	r.ledger.commit(id, at, revision, len(p.bytes))
	return nil
}

// note keeps an unreadable stretch. Zeros are what a file system leaves where it did not get to write: nothing is lost
// with them.
func (r *recovered) note(p piece, why error) {
	if len(bytes.TrimLeft(p.bytes, "\x00")) == 0 {
		return
	}
	for chunk := range slices.Chunk(p.bytes, stretchSize) {
		s := stretch(logName, piece{off: p.off, bytes: bytes.Clone(chunk)}, why)
		s.AsideAt = time.Now()
		r.unreadable = append(r.unreadable, s)
		p.off += len(chunk)
	}
}

// dropAside removes entries that were set aside when the process died before it could mark them.
func (r *recovered) dropAside(known []AsideEntry) {
	for _, a := range known {
		r.ledger.drop(a.ID)
	}
}
