package dashboard

import (
	"bytes"
	"slices"
	"sort"
)

// leafRows is how many rows a leaf holds at most. Their keys, of at most 200 bytes, then fit what 16 bits count.
const leafRows = 256

// Index holds rows in the order of their keys. It is a list of leaves, each with its keys in one piece, so that it has few
// pointers and a search runs through plain bytes. The package comment says what it costs.
//
// An Index is not safe for concurrent use.
type Index struct {
	leaves []*leaf // none is empty
	len    int
	epoch  uint8
}

// leaf is a run of rows.
type leaf struct {
	keys []byte   // one behind the other
	ends []uint16 // where each key ends
	rows []packed
}

// NewIndex returns an empty Index.
func NewIndex() *Index { return &Index{} }

// Len returns the number of rows.
func (x *Index) Len() int { return x.len }

// Put puts in a row, or replaces the one under its key. Keys are at most events.MaxKeyLen long.
func (x *Index) Put(r Row) {
	if len(x.leaves) == 0 {
		x.leaves = append(x.leaves, &leaf{})
	}
	i := x.leafOf(r.Key)
	n, found := x.leaves[i].find(r.Key)
	if found {
		x.leaves[i].rows[n] = r.pack(x.epoch)
		return
	}
	if len(x.leaves[i].rows) == leafRows {
		x.leaves = slices.Insert(x.leaves, i+1, x.leaves[i].split())
		if n >= len(x.leaves[i].rows) {
			n -= len(x.leaves[i].rows)
			i++
		}
	}
	x.leaves[i].insert(n, r.Key, r.pack(x.epoch))
	x.len++
}

// Get returns the row under a key.
func (x *Index) Get(key string) (r Row, ok bool) {
	if len(x.leaves) == 0 {
		return Row{}, false
	}
	l := x.leaves[x.leafOf(key)]
	n, found := l.find(key)
	if !found {
		return Row{}, false
	}
	return l.rows[n].row(l.key(n)), true
}

// Remove takes out what is under a key.
func (x *Index) Remove(key string) {
	if len(x.leaves) == 0 {
		return
	}
	i := x.leafOf(key)
	l := x.leaves[i]
	n, found := l.find(key)
	if !found {
		return
	}
	l.remove(n)
	x.len--
	if len(l.rows) == 0 {
		x.leaves = slices.Delete(x.leaves, i, i+1)
	}
}

// Begin starts a new reading of all records: Sweep drops what is not Put from here on.
func (x *Index) Begin() { x.epoch++ }

// Sweep drops the rows that were not put in since Begin.
func (x *Index) Sweep() {
	for _, l := range x.leaves {
		for n := len(l.rows) - 1; n >= 0; n-- {
			if l.rows[n].epoch != x.epoch {
				l.remove(n)
				x.len--
			}
		}
	}
	x.leaves = slices.DeleteFunc(x.leaves, func(l *leaf) bool { return len(l.rows) == 0 })
}

// leafOf returns the leaf in which a key is, or belongs. There must be one.
func (x *Index) leafOf(key string) int {
	after := sort.Search(len(x.leaves), func(i int) bool { return string(x.leaves[i].key(0)) > key })
	return max(after-1, 0)
}

// key returns the n-th key, valid until the leaf changes. An empty leaf, the first of an index, has none.
func (l *leaf) key(n int) []byte {
	if n >= len(l.ends) {
		return nil
	}
	return l.keys[l.start(n):l.ends[n]]
}

func (l *leaf) start(n int) int {
	if n == 0 {
		return 0
	}
	return int(l.ends[n-1])
}

// find returns the place of a key, or where it belongs.
func (l *leaf) find(key string) (n int, found bool) {
	n = sort.Search(len(l.ends), func(i int) bool { return string(l.key(i)) >= key })
	return n, n < len(l.ends) && string(l.key(n)) == key
}

func (l *leaf) insert(n int, key string, p packed) {
	at := l.start(n)
	l.keys = slices.Insert(l.keys, at, []byte(key)...)
	l.ends = slices.Insert(l.ends, n, uint16(at))
	for i := n; i < len(l.ends); i++ {
		l.ends[i] += uint16(len(key))
	}
	l.rows = slices.Insert(l.rows, n, p)
}

func (l *leaf) remove(n int) {
	from, to := l.start(n), int(l.ends[n])
	l.keys = slices.Delete(l.keys, from, to)
	l.ends = slices.Delete(l.ends, n, n+1)
	for i := n; i < len(l.ends); i++ {
		l.ends[i] -= uint16(to - from)
	}
	l.rows = slices.Delete(l.rows, n, n+1)
}

// split moves the upper half of a full leaf into a new one.
func (l *leaf) split() *leaf {
	half := len(l.rows) / 2
	at := l.start(half)
	upper := &leaf{keys: bytes.Clone(l.keys[at:]), ends: slices.Clone(l.ends[half:]), rows: slices.Clone(l.rows[half:])}
	for i := range upper.ends {
		upper.ends[i] -= uint16(at)
	}
	// New arrays: what stays must not keep twice its size.
	l.keys, l.ends, l.rows = bytes.Clone(l.keys[:at]), slices.Clone(l.ends[:half]), slices.Clone(l.rows[:half])
	return upper
}
