package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
)

var errMalformed = errors.New("malformed record")

// piece is one intact record, or one stretch between records that is none.
type piece struct {
	off    int
	bytes  []byte
	intact bool
}

// pieces cuts a log into records and unreadable stretches; together they are the whole log.
func pieces(log []byte) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		read, off := 0, 0 // log[read:off] is unreadable so far
		for off < len(log) {
			n := intact(log[off:])
			if n == 0 {
				off = nextMagic(log, off+1)
				continue
			}
			if read < off && !yield(piece{off: read, bytes: log[read:off]}) {
				return
			}
			if !yield(piece{off: off, bytes: log[off : off+n], intact: true}) {
				return
			}
			off += n
			read = off
		}
		if read < len(log) {
			yield(piece{off: read, bytes: log[read:]})
		}
	}
}

// intact returns the length of the record at the beginning of b, 0 if there is none.
func intact(b []byte) int {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return 0
	}
	size := binary.LittleEndian.Uint32(b[lengthAt:])
	if size > maxRecord || int(size) > len(b)-headerSize {
		return 0
	}
	n := headerSize + int(size)
	if checksum(b[:n]) != binary.LittleEndian.Uint32(b[crcAt:]) {
		return 0
	}
	return n
}

// nextMagic returns where the next record may begin, at off or later; len(log) if nowhere.
func nextMagic(log []byte, off int) int {
	if i := bytes.Index(log[off:], []byte(magic)); i >= 0 {
		return off + i
	}
	return len(log)
}

// decoder reads the fields of a body; the first that does not fit spoils all that follow.
type decoder struct {
	rest []byte
	bad  bool
}

// openBody returns a decoder for the body of an intact record and the record's kind.
func openBody(rec []byte) (decoder, byte, error) {
	if rec[4] != version {
		return decoder{}, 0, fmt.Errorf("record of version %d, only %d is known", rec[4], version)
	}
	return decoder{rest: rec[headerSize:]}, rec[5], nil
}

func (d *decoder) take(n uint64) []byte {
	if d.bad = d.bad || n > uint64(len(d.rest)); d.bad {
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string {
	n, used := binary.Uvarint(d.rest)
	d.bad = d.bad || used <= 0
	d.take(uint64(max(used, 0)))
	return string(d.take(n))
}

func (d *decoder) number() uint64 {
	b := d.take(8)
	if d.bad {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (d *decoder) time() time.Time {
	n := d.number()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n)).UTC()
}

func (d *decoder) remainder() []byte { return d.take(uint64(len(d.rest))) }

func (d *decoder) entry() Entry {
	return Entry{ID: d.text(), Key: d.text(), At: d.time(), Data: d.remainder()}
}

func (d *decoder) aside() AsideEntry {
	return AsideEntry{Reason: d.text(), AsideAt: d.time(), Entry: d.entry()}
}

// err is nil when every field so far was there and nothing is left over.
func (d *decoder) err() error {
	if d.bad || len(d.rest) > 0 {
		return errMalformed
	}
	return nil
}
