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

// contents is what a segment's file was found to hold.
type contents struct {
	bytes      []byte
	good       []piece // records that this version knows
	unreadable []AsideEntry
	garbage    bool // there are bytes that are no record
}

// readSegment reads and checks a segment. Damage is described, not an error.
func readSegment(dir, name string) (contents, error) {
	log, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return contents{}, fmt.Errorf("read %s: %w", name, err)
	}
	c := contents{bytes: log}
	for p := range pieces(log) {
		if err := c.check(p); err != nil {
			c.garbage = true
			c.note(name, p, err)
		} else {
			c.good = append(c.good, p)
		}
	}
	return c, nil
}

// check tells whether a piece is a record that can be replayed.
func (c *contents) check(p piece) error {
	if !p.intact && p.off+len(p.bytes) == len(c.bytes) {
		return errCut
	}
	if !p.intact {
		return errMalformed
	}
	_, err := decodeOp(p.bytes)
	return err
}

// decodeOp reads an intact record of the log.
func decodeOp(rec []byte) (op, error) {
	d, kind, err := openBody(rec)
	if err != nil {
		return op{}, err
	}
	o := op{kind: kind}
	switch kind {
	case kindEntry:
		e := d.entry()
		o.id, o.at, o.rec = e.ID, e.At, rec
		d.bad = d.bad || e.ID == ""
	case kindCommit:
		o.id, o.at, o.revision = d.text(), d.time(), d.number()
	case kindRetire:
		o.id = d.text()
	default:
		return op{}, fmt.Errorf("record of kind %d is not known", kind)
	}
	return o, d.err()
}

// note keeps an unreadable stretch. Zeros are what a file system leaves where it did not get to write: nothing is lost
// with them.
func (c *contents) note(name string, p piece, why error) {
	if len(bytes.TrimLeft(p.bytes, "\x00")) == 0 {
		return
	}
	for chunk := range slices.Chunk(p.bytes, stretchSize) {
		s := stretch(name, piece{off: p.off, bytes: bytes.Clone(chunk)}, why)
		s.AsideAt = time.Now()
		c.unreadable = append(c.unreadable, s)
		p.off += len(chunk)
	}
}

// replay applies a segment's records; the segment is the ledger's latest.
func (l *ledger) replay(c contents) {
	base, before := l.active().base, l.last
	for _, p := range c.good {
		o, _ := decodeOp(p.bytes) // checked when it was read
		l.apply(o, base+int64(p.off))
	}
	l.arrivals = slices.DeleteFunc(l.arrivals, func(s *slot) bool { return s.gone })
	for _, s := range l.arrivals {
		if s.seq > before {
			s.rec = bytes.Clone(s.rec) // the file's bytes are not kept
		}
	}
}

// mend replaces a damaged segment by one without the damage, which is safe in aside.log. Whether it could, the
// caller sees when it reads the segment again.
func mend(d disk, aside *asideLog, name string, c contents) error {
	if err := aside.save(); err != nil {
		return err
	}
	var whole []byte
	for _, p := range c.good {
		whole = append(whole, p.bytes...)
	}
	f, err := d.Open(tmpName, true)
	if err != nil {
		return fmt.Errorf("mend %s: %w", name, err)
	}
	_, err = f.WriteAt(whole, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.Rename(tmpName, name)
	}
	if err == nil {
		err = d.Sync()
	}
	if err != nil {
		return fmt.Errorf("mend %s: %w", name, err)
	}
	return nil
}
