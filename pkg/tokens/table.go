package tokens

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/freshetdev/freshet/pkg/events"
)

// table finds the tokens that sources hand out by the ids of their credentials. Of a hundred thousand credentials each step to
// somewhere else in memory costs more than everything else in a warm read, so there are two: from an id's hash to a slot, and
// from there to the token, which has its id and its end in one cache line. A map would need twice as many.
//
// Concurrency: any number of goroutines look at any time. Who sets holds mu, which owns all but slots; it is taken after a
// source's mu, never before it, and nothing is waited for under it. A slot is taken once, for one hash, and keeps it when its token goes; an id that comes again takes another.
type table struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]slot] // a power of two, a third of them free at least; an id's slot is the first that fits from its hash on

	mu    sync.Mutex
	taken int // slots that are not free
	live  int
}

// slot is free (zero), holds a token, or has lost it: then the search goes on behind it.
type slot struct {
	hash atomic.Uint64 // never 0; set after held
	held atomic.Pointer[held]
}

// smallestTable is how many slots there are at first.
const smallestTable = 64

// start makes the table. It is called before anything else.
func (t *table) start() {
	slots := make([]slot, smallestTable)
	t.seed = maphash.MakeSeed()
	t.slots.Store(&slots)
}

func (t *table) hash(id string) uint64 { return maphash.String(t.seed, id) | 1 }

// look returns the token of an id; nil: there is none.
func (t *table) look(id string) *held {
	s, _ := find(*t.slots.Load(), id, t.hash(id))
	if s == nil {
		return nil
	}
	return s.held.Load()
}

// find returns an id's slot; where there is none, nil and the place of the free one that it may have.
func find(slots []slot, id string, hash uint64) (s *slot, free int) {
	mask := len(slots) - 1
	for i := int(hash>>1) & mask; ; i = (i + 1) & mask {
		s := &slots[i]
		switch s.hash.Load() {
		case 0:
			return nil, i
		case hash:
			if h := s.held.Load(); h != nil && h.is(id) {
				return s, i
			}
		}
	}
}

// set enters a token, or takes one out: nil.
func (t *table) set(id string, h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slots, hash := *t.slots.Load(), t.hash(id)
	s, free := find(slots, id, hash)
	switch {
	case h == nil && s != nil:
		s.held.Store(nil)
		t.live--
	case h != nil && s != nil:
		s.held.Store(h)
	case h != nil:
		slots[free].held.Store(h)
		slots[free].hash.Store(hash)
		t.taken++
		t.live++
		if 3*t.taken > 2*len(slots) {
			t.rebuild(slots)
		}
	}
}

// rebuild makes the slots as many as those that live need, and drops the lost ones. The caller holds mu.
func (t *table) rebuild(old []slot) {
	n := smallestTable
	for n < 3*t.live {
		n *= 2
	}
	slots := make([]slot, n)
	for i := range old {
		h := old[i].held.Load()
		if h == nil {
			continue
		}
		hash := old[i].hash.Load()
		k := int(hash>>1) & (n - 1)
		for slots[k].hash.Load() != 0 {
			k = (k + 1) & (n - 1)
		}
		slots[k].held.Store(h)
		slots[k].hash.Store(hash)
	}
	t.taken = t.live
	t.slots.Store(&slots)
}

// warm returns a token that may be handed out at now, in Unix nanoseconds; nil: there is none.
func (t *table) warm(id string, now int64) *held { return t.look(id).warm(now) }

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
	size  uint8 // 0: it is longer than short
	short [51]byte
}

func nameOf(c events.Credential) (n name) {
	if id := c.String(); len(id) <= len(n.short) {
		n.size = uint8(copy(n.short[:], id))
	}
	return n
}

// is reports whether the token is that of an id.
func (h *held) is(id string) bool {
	if n := &h.name; n.size > 0 {
		return string(n.short[:n.size]) == id
	}
	provider, account, _ := strings.Cut(id, "/")
	return h.full.Credential == events.Credential{Provider: provider, Account: account}
}
