package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	asideName = "aside.log"

	// stretchSize is how much of an unreadable stretch goes into one record.
	stretchSize = 1 << 20
)

// AsideEntry is what is kept for a person: an entry that cannot be committed, or bytes that are no record any more.
type AsideEntry struct {
	Entry             // an unreadable stretch has no ID and carries its bytes in Data
	Reason  string    // as given to SetAside, or what is wrong with the bytes and where they were
	AsideAt time.Time // when it was set aside; zero for damage in aside.log itself
}

// Unreadable tells whether this is a stretch of a damaged log rather than an entry.
func (a AsideEntry) Unreadable() bool { return a.ID == "" }

// asideLog is the file of what was set aside. It only grows, and what is in it is on the disk.
type asideLog struct {
	path string
	disk disk

	mu      sync.Mutex // held while something is set aside
	file    file
	size    int64
	entries int
	// stretches counts those in the file and those that wait in unsaved because it could not be written.
	stretches int
	unsaved   []AsideEntry
}

func openAside(dir string, d disk) (*asideLog, []AsideEntry, error) {
	a := &asideLog{path: filepath.Join(dir, asideName), disk: d}
	log, err := a.read()
	if err != nil {
		return nil, nil, err
	}
	if a.file, err = d.Open(asideName, false); err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", asideName, err)
	}
	known := decodeAsides(log)
	a.size = int64(len(log))
	for _, k := range known {
		a.count(k)
	}
	return a, known, nil
}

func (a *asideLog) count(e AsideEntry) {
	if e.Unreadable() {
		a.stretches++
	} else {
		a.entries++
	}
}

func (a *asideLog) read() ([]byte, error) {
	log, err := os.ReadFile(a.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", asideName, err)
	}
	return log, nil
}

// decodeAsides returns what the file holds. What cannot be read in it is listed, and left where it is.
func decodeAsides(log []byte) []AsideEntry {
	var found []AsideEntry
	for p := range pieces(log) {
		e, err := decodeAside(p)
		if err != nil {
			e = stretch(asideName, p, err)
		}
		found = append(found, e)
	}
	return found
}

func decodeAside(p piece) (AsideEntry, error) {
	if !p.intact {
		return AsideEntry{}, errMalformed
	}
	d, kind, err := openBody(p.bytes)
	if err != nil {
		return AsideEntry{}, err
	}
	if kind != kindAside {
		return AsideEntry{}, errMalformed
	}
	e := d.aside()
	return e, d.err()
}

// stretch describes a piece of a log that is of no use.
func stretch(log string, p piece, why error) AsideEntry {
	reason := fmt.Sprintf("%d bytes at offset %d of %s: %v", len(p.bytes), p.off, log, why)
	return AsideEntry{Entry: Entry{Data: p.bytes}, Reason: reason}
}

// add writes one record and syncs it. The caller holds mu.
func (a *asideLog) add(e AsideEntry) error {
	rec := encodeAside(e)
	_, err := a.file.WriteAt(rec, a.size)
	if err == nil {
		err = a.file.Sync()
	}
	if err == nil {
		err = a.disk.Sync() // the file may be new; this is rare enough to do each time
	}
	if err != nil {
		_ = a.file.Truncate(a.size) // if this fails too, the next add overwrites what is there
		return fmt.Errorf("write %s: %w", asideName, err)
	}
	a.size += int64(len(rec))
	return nil
}

// setAside keeps an entry.
func (a *asideLog) setAside(e AsideEntry) error {
	if err := a.add(e); err != nil {
		return err
	}
	a.entries++
	return nil
}

// keep takes over unreadable stretches that are not kept yet; save writes them.
func (a *asideLog) keep(found, known []AsideEntry) {
	for _, e := range found {
		if !slices.ContainsFunc(known, func(k AsideEntry) bool { return k.Unreadable() && bytes.Equal(k.Data, e.Data) }) {
			a.unsaved = append(a.unsaved, e)
			a.stretches++
		}
	}
}

// save writes the unreadable stretches that could not be written so far.
func (a *asideLog) save() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.unsaved) > 0 {
		if err := a.add(a.unsaved[0]); err != nil {
			return err
		}
		a.unsaved = a.unsaved[1:]
	}
	return nil
}

func (a *asideLog) list() ([]AsideEntry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	log, err := a.read()
	log = log[:min(int64(len(log)), a.size)] // what a failed add left behind is not in
	return append(decodeAsides(log), a.unsaved...), err
}
