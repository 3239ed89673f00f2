package dashboard

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Query says which rows are wanted. The zero value is all of them.
type Query struct {
	After    string        // only keys behind this one
	Before   string        // only keys before this one, and of these the last; After is then left aside
	Provider string        // only this provider's
	State    refresh.State // only in this state
	Paused   bool          // only paused ones
	Broken   bool          // only those whose headers cannot be read
	Text     string        // only names, PROVIDER/ACCOUNT, that contain it; ASCII letters match in either case
	Limit    int           // how many rows at most
}

// Find returns the first rows that match, in the order of their keys, and whether there are more behind them; with Before the last
// rows before it, in the same order, and whether there are more before them.
func (x *Index) Find(q Query) (found []Row, more bool) {
	if q.Before != "" {
		return x.findBefore(q)
	}
	from, head := q.After, ""
	if q.Provider != "" {
		head = q.Provider + "."
		from = max(from, head)
	}
	if len(x.leaves) == 0 {
		return nil, false
	}
	s := newScan(q)
	for _, l := range x.leaves[x.leafOf(from):] {
		if !strings.HasPrefix(string(l.key(0)), head) && string(l.key(0)) > head {
			break
		}
		s.each(l, func(n int) bool {
			key := l.key(n)
			if string(key) <= q.After || !bytes.HasPrefix(key, []byte(head)) || !s.match(l.rows[n], key) {
				return true
			}
			if more = len(found) == q.Limit; more {
				return false
			}
			found = append(found, l.rows[n].row(key))
			return true
		})
		if more {
			break
		}
	}
	return found, more
}

// findBefore goes backwards, a leaf at a time.
func (x *Index) findBefore(q Query) (found []Row, more bool) {
	if len(x.leaves) == 0 {
		return nil, false
	}
	until, head := q.Before, ""
	if q.Provider != "" {
		head = q.Provider + "."
		until = min(until, q.Provider+"/") // what comes right behind its keys
	}
	s := newScan(q)
	for i := x.leafOf(until); i >= 0 && len(found) <= q.Limit; i-- {
		l := x.leaves[i]
		if string(l.key(len(l.rows)-1)) < head {
			break
		}
		var here []Row
		s.each(l, func(n int) bool {
			key := l.key(n)
			if string(key) >= until {
				return false
			}
			if bytes.HasPrefix(key, []byte(head)) && s.match(l.rows[n], key) {
				here = append(here, l.rows[n].row(key))
			}
			return true
		})
		found = append(here, found...)
	}
	over := max(len(found)-q.Limit, 0)
	return found[over:], over > 0
}

// scan is one run through leaves.
type scan struct {
	q       Query
	state   uint8
	text    string // of the query, in small letters
	pattern []byte // the same as it is written in keys
	folded  []byte // a leaf's keys in small letters
}

func newScan(q Query) *scan {
	s := &scan{q: q, state: stateNumber(q.State), text: lower(q.Text)}
	s.pattern = []byte(lower(keyPart(q.Text)))
	return s
}

// keyPart is how a part of a name looks inside a key.
func keyPart(text string) string {
	if text == "" {
		return ""
	}
	// A credential whose account begins with a letter, so that what follows is in the middle of a segment.
	key := events.Credential{Provider: "p", Account: "x" + text + "x"}.Key()
	return strings.TrimSuffix(strings.TrimPrefix(key, "p.x"), "x")
}

// each calls fn for the rows of a leaf that may match, until it returns false.
func (s *scan) each(l *leaf, fn func(n int) bool) {
	if len(s.pattern) == 0 {
		for n := range l.rows {
			if !fn(n) {
				return
			}
		}
		return
	}
	s.folded = fold(s.folded, l.keys)
	for at, n := 0, 0; n < len(l.ends); {
		hit := bytes.Index(s.folded[at:], s.pattern)
		if hit < 0 {
			return
		}
		hit += at
		for int(l.ends[n]) <= hit {
			n++
		}
		if hit+len(s.pattern) > int(l.ends[n]) { // it runs into the next key
			at = hit + 1
			continue
		}
		if !fn(n) {
			return
		}
		at, n = int(l.ends[n]), n+1
	}
}

func (s *scan) match(p packed, key []byte) bool {
	switch state := p.flags & stateMask; {
	case s.q.State != "" && state != s.state, s.q.Broken && state != 0, s.q.Paused && p.flags&flagPaused == 0:
		return false
	}
	if s.text == "" {
		return true
	}
	c, err := events.ParseKey(string(key)) // the pattern may have met the middle of an escape
	return err == nil && strings.Contains(lower(c.String()), s.text)
}

// lower writes ASCII letters small and leaves everything else.
func lower(s string) string {
	return string(fold(nil, []byte(s)))
}

// fold writes src into dst, which it grows, with A to Z as a to z: eight bytes at a time, because it runs through all keys.
func fold(dst, src []byte) []byte {
	const (
		low          = 0x7f7f7f7f7f7f7f7f
		high         = 0x8080808080808080
		fromA, pastZ = 0x3f3f3f3f3f3f3f3f, 0x2525252525252525 // 0x80-'A' and 0x7f-'Z' in each byte
	)
	dst = append(dst[:0], src...)
	i := 0
	for ; i+8 <= len(dst); i += 8 {
		w := binary.LittleEndian.Uint64(dst[i:])
		upper := ((w & low) + fromA) ^ ((w & low) + pastZ)
		binary.LittleEndian.PutUint64(dst[i:], w|(upper&^w&high)>>2)
	}
	for ; i < len(dst); i++ {
		if 'A' <= dst[i] && dst[i] <= 'Z' {
			dst[i] |= 0x20
		}
	}
	return dst
}
