package schedule

import "iter"

const (
	// keyUnit is what keys are aligned to, so that a 32-bit reference reaches 16 GiB of them.
	keyUnit = 4
	// keyPage is how much is allocated, and given back, at once: small enough that emptying one page never stalls
	// a tick, large enough that the collector sees few objects.
	keyPage = 64 << 10
	// maxKeyPages bounds the arena, because a reference has 32 bits.
	maxKeyPages = 1 << 32 / (keyPage / keyUnit)
	// maxKeyLen is what the length byte in front of a key can say.
	maxKeyLen = 255
)

// keyArena stores keys, each behind its length byte, in pages without pointers. The zero value is empty.
type keyArena struct {
	pages [][]byte
	dead  []int    // bytes of dropped keys, for each page
	free  []uint32 // numbers of pages that were given back
	tail  uint32   // the page that is being filled
	used  int      // bytes of it
}

func keySize(n int) int { return (1 + n + keyUnit - 1) &^ (keyUnit - 1) }

// add stores a key of 1 to maxKeyLen bytes and returns its reference; ok is false when the arena is full.
func (a *keyArena) add(key string) (ref uint32, ok bool) {
	size := keySize(len(key))
	if len(a.pages) == 0 || a.used+size > keyPage {
		if !a.open() {
			return 0, false
		}
	}
	page := a.pages[a.tail]
	page[a.used] = byte(len(key))
	copy(page[a.used+1:], key)
	ref = a.tail*(keyPage/keyUnit) + uint32(a.used/keyUnit)
	a.used += size
	return ref, true
}

// open starts a new page.
func (a *keyArena) open() bool {
	switch n := len(a.free); {
	case n > 0:
		a.tail, a.free = a.free[n-1], a.free[:n-1]
	case len(a.pages) == maxKeyPages:
		return false
	default:
		a.tail = uint32(len(a.pages))
		a.pages, a.dead = append(a.pages, nil), append(a.dead, 0)
	}
	a.pages[a.tail], a.dead[a.tail], a.used = make([]byte, keyPage), 0, 0
	return true
}

// get returns the key behind ref. It stays valid until the key is dropped or moved.
func (a *keyArena) get(ref uint32) []byte {
	page, off := a.pages[ref/(keyPage/keyUnit)], ref%(keyPage/keyUnit)*keyUnit
	return page[off+1 : off+1+uint32(page[off])]
}

// drop forgets the key behind ref and returns its page.
func (a *keyArena) drop(ref uint32) (page uint32) {
	page = ref / (keyPage / keyUnit)
	a.dead[page] += keySize(len(a.get(ref)))
	return page
}

// sparse reports whether emptying the page is worth the work: more than half of it is dead.
func (a *keyArena) sparse(page uint32) bool {
	return page != a.tail && a.pages[page] != nil && a.dead[page] > keyPage/2
}

// all yields the references of the keys in a page, the dropped ones too.
func (a *keyArena) all(page uint32) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		b := a.pages[page]
		for off := 0; off < len(b) && b[off] != 0; off += keySize(int(b[off])) {
			if !yield(page*(keyPage/keyUnit) + uint32(off/keyUnit)) {
				return
			}
		}
	}
}

// release gives a page back; no live key may be in it.
func (a *keyArena) release(page uint32) {
	a.pages[page], a.dead[page] = nil, 0
	a.free = append(a.free, page)
}
