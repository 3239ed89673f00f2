package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
)

const (
	// readBatch is how many recent entries are looked up at a time.
	readBatch = 512
	// windowSize is how much is read at a time: entries that were committed one after the other mostly lie together.
	windowSize = 256 << 10
)

// located is a recent entry and where to read its record.
type located struct {
	item
	number uint64
	file   file
	off    int64
}

// Recent yields the entries that are committed and still kept, about in the order of their commits. They are read from
// the disk as the loop goes on. One that cannot be read is left out, counted in Stats, and told to OnError: the
// commit of each was confirmed, so what is missing is the protection from a server that forgets it.
func (j *Journal) Recent() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		var w window
		number, end := j.recentNumbers()
		for number < end {
			var batch []located
			batch, number = j.recentFrom(number, end)
			for _, f := range batch {
				e, err := j.readBack(&w, f)
				if err == nil && !yield(e) {
					return
				}
			}
		}
	}
}

func (j *Journal) recentNumbers() (from, end uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expire()
	return j.ledger.recent.first, j.ledger.recent.next
}

// recentFrom returns some of the recent entries with numbers from one up to an end, as they lie on the disk, and the
// number to go on with.
func (j *Journal) recentFrom(number, end uint64) ([]located, uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var batch []located
	for number = max(number, j.ledger.recent.first); number < end && len(batch) < readBatch && !j.closed; number++ {
		if i := j.ledger.recent.at(number); i != nil {
			batch = append(batch, j.locate(number, i))
		}
	}
	slices.SortFunc(batch, func(a, b located) int { return cmp.Compare(a.pos, b.pos) })
	if j.closed {
		number = end
	}
	return batch, number
}

// locate tells where an item's record is. The caller holds mu.
func (j *Journal) locate(number uint64, i *item) located {
	s := j.ledger.segmentAt(i.pos)
	return located{item: *i, number: number, file: s.file, off: i.pos - s.base}
}

// find returns a live entry.
func (j *Journal) find(id string) (Entry, error) {
	j.mu.Lock()
	s := j.ledger.pending[id]
	number, i := j.ledger.recent.find(j.ledger.identify(id))
	var f located
	var e Entry
	switch {
	case j.closed:
		defer j.mu.Unlock()
		return e, ErrClosed
	case s != nil:
		defer j.mu.Unlock()
		return s.entry(), nil
	case i == nil:
		defer j.mu.Unlock()
		return e, ErrUnknown
	}
	f = j.locate(number, i)
	j.mu.Unlock()
	return j.readBack(&window{}, f)
}

// readBack reads a recent entry.
func (j *Journal) readBack(w *window, f located) (Entry, error) {
	rec, err := w.record(f)
	if err == nil && intact(rec) != len(rec) {
		err = errMalformed
	}
	var e Entry
	if err == nil {
		d := decoder{rest: rec[headerSize:]}
		e = d.entry()
		err = d.err()
	}
	if err == nil && !f.is(j.ledger.identify(e.ID)) {
		err = errors.New("another entry is in its place")
	}
	if err != nil {
		return Entry{}, j.noteUnread(f, err)
	}
	e.Data = bytes.Clone(e.Data)
	e.Committed, e.Revision = j.ledger.time(f.at), f.revision
	return e, nil
}

// noteUnread counts and tells that an entry could not be read back, unless it has gone meanwhile.
func (j *Journal) noteUnread(f located, why error) error {
	j.mu.Lock()
	gone := j.closed || j.ledger.recent.at(f.number) == nil
	if !gone {
		j.unread++
	}
	news := !gone && j.unread == 1
	j.mu.Unlock()
	if gone {
		return ErrUnknown
	}
	err := fmt.Errorf("read back a committed entry: %w", why)
	if news {
		j.cfg.OnError(fmt.Errorf("journal: %w; others of the kind are only counted", err))
	}
	return err
}

// window is a part of a segment, read at once.
type window struct {
	file file
	off  int64
	buf  []byte
}

// record returns the bytes of a record, until the next call.
func (w *window) record(f located) ([]byte, error) {
	end := f.off + int64(f.size)
	if w.file != f.file || f.off < w.off || end > w.off+int64(len(w.buf)) {
		if err := w.read(f); err != nil {
			return nil, err
		}
	}
	return w.buf[f.off-w.off : end-w.off], nil
}

func (w *window) read(f located) error {
	if size := max(windowSize, int(f.size)); cap(w.buf) < size {
		w.buf = make([]byte, size)
	}
	w.file, w.off, w.buf = f.file, f.off, w.buf[:cap(w.buf)]
	n, err := f.file.ReadAt(w.buf, f.off)
	w.buf = w.buf[:n]
	switch {
	case n >= int(f.size):
		return nil
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}
