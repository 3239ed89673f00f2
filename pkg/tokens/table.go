package tokens

import (
	"hash/maphash"
	"sync"

	"github.com/freshetdev/freshet/pkg/events"
)

// table finds the tokens that sources hand out by the ids of their credentials. Of a hundred thousand credentials each step to
// somewhere else in memory costs more than everything else in a warm read, so there are two: from an id's hash to a slot, and
// from there to the token, which has its id and its end in one cache line. A map would need twice as many.
//
// Concurrency: mu owns all. It is taken after a source's mu, never before it, and nothing is waited for under it.
type table struct {
	mu    sync.RWMutex
	seed  maphash.Seed
	slots []slot // a power of two, a third of them free at least; an id's slot is the first that fits from its hash on
	taken int    // slots that are not free
	live  int
}

// slot is free (zero), holds a token, or has lost it: then the search goes on behind it.
type slot struct {
	hash uint64 // never 0
	held *held  // nil: lost
}

// smallestTable is how many slots there are at first.
const smallestTable = 64

func newTable() table { return table{seed: maphash.MakeSeed(), slots: make([]slot, smallestTable)} }

func (t *table) hash(id string) uint64 { return maphash.String(t.seed, id) | 1 }

// find returns the place of an id's slot, or of a free one where there is none. The caller holds mu.
func (t *table) find(id string, hash uint64) int {
	mask := len(t.slots) - 1
	for i := int(hash>>1) & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.hash == 0 || s.hash == hash && s.held != nil && s.held.name.is(id) {
			return i
		}
	}
}

// set enters a token, or takes one out: nil.
func (t *table) set(id string, h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := t.hash(id)
	s := &t.slots[t.find(id, hash)]
	switch {
	case h == nil && s.hash != 0:
		s.held = nil
		t.live--
	case h != nil && s.hash != 0:
		s.held = h
	case h != nil:
		*s = slot{hash, h}
		t.taken++
		t.live++
		if 3*t.taken > 2*len(t.slots) {
			t.rebuild()
		}
	}
}

// rebuild makes the slots as many as those that live need, and drops the lost ones. The caller holds mu.
func (t *table) rebuild() {
	old, n := t.slots, smallestTable
	for n < 3*t.live {
		n *= 2
	}
	t.slots, t.taken = make([]slot, n), t.live
	for _, s := range old {
		if s.held == nil {
			continue
		}
		i := int(s.hash>>1) & (n - 1)
		for t.slots[i].hash != 0 {
			i = (i + 1) & (n - 1)
		}
		t.slots[i] = s
	}
}

// get returns the token of an id; nil: there is none. The caller holds mu, to read at least.
func (t *table) get(id string) *held { return t.slots[t.find(id, t.hash(id))].held }

// warm returns a token that may be handed out at now, in Unix nanoseconds; nil: there is none.
func (t *table) warm(id string, now int64) *held {
	t.mu.RLock()
	h := t.get(id)
	t.mu.RUnlock()
	return h.warm(now)
}

// warm returns h if it may be handed out at now, and notes that it was. h may be nil.
func (h *held) warm(now int64) *held {
	if h == nil || now >= h.until {
		return nil
	}
	if !h.asked.Load() { // to write each time would have the processors fight over it
		h.asked.Store(true)
	}
	return h
}

// put makes a token the one that is handed out; nil: none. The caller holds mu.
func (s *source) put(h *held) {
	if old := s.held.Load(); old != nil && old.asked.Load() {
		s.asked.Store(true)
	}
	s.held.Store(h)
	s.client.tokens.set(s.cred.String(), h)
}

// name is the id of a credential beside its token: in place if it is short, as most are.
type name struct {
	size  uint8 // of short
	short [39]byte
	long  *string // where short does not take it
}

func nameOf(c events.Credential) (n name) {
	id := c.String()
	if len(id) > len(n.short) {
		n.long = &id
		return n
	}
	n.size = uint8(copy(n.short[:], id))
	return n
}

func (n *name) is(id string) bool {
	if n.long != nil {
		return *n.long == id
	}
	return string(n.short[:n.size]) == id
}
