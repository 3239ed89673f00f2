package events

import (
	"cmp"
	"hash/maphash"
)

// seenCredentials is how many credentials a subscriber remembers at least, and half of how many at most. A mark
// with its key takes about 200 bytes.
const seenCredentials = 100_000

// seen remembers, for the credentials and providers heard of last, what a subscriber has handled. It belongs to
// one goroutine.
//
// Two maps make a cheap least-recently-used order: marks are written to young; when that is full it becomes
// old, and what was old and not heard of since is forgotten.
type seen struct {
	limit      int
	seed       maphash.Seed
	young, old map[string]mark
}

func newSeen(limit int) *seen {
	return &seen{limit: limit, seed: maphash.MakeSeed(), young: map[string]mark{}}
}

// news reports whether e says something that was not handled before.
func (s *seen) news(e Event) bool {
	return s.mark(e.key()).news(e, s.hash(e))
}

// handled takes e as handled. Between news and handled a failure may come, so that the event is told again.
func (s *seen) handled(e Event) {
	key := e.key()
	m := s.mark(key).with(e, s.hash(e))
	if len(s.young) >= s.limit {
		s.old, s.young = s.young, make(map[string]mark, s.limit)
	}
	s.young[key] = m
}

// mark returns what is known about a key; the zero mark when nothing is.
func (s *seen) mark(key string) mark {
	if m, ok := s.young[key]; ok {
		return m
	}
	return s.old[key]
}

func (s *seen) hash(e Event) uint64 { return maphash.String(s.seed, e.ID) }

// mark is how far a subscriber has come with one credential. For a provider, generation and version stay 0.
type mark struct {
	generation, version uint64
	// updated: a token.updated of this very version is no news any more, because it was heard, or because the grant was
	// withdrawn meanwhile. Other events may come before it, as when a worker dies between commit and telling.
	updated bool
	ids     [idSlots]uint64 // hash of the last id at this version, by type
}

func (m mark) news(e Event, id uint64) bool {
	if c := m.compare(e); c != 0 {
		return c > 0
	}
	return !(m.updated && e.Type == TokenUpdated) && m.ids[idSlot(e.Type)] != id
}

func (m mark) with(e Event, id uint64) mark {
	switch c := m.compare(e); {
	case c < 0:
		return m
	case c > 0:
		m = mark{generation: e.Data.Generation, version: e.Data.Version}
	}
	m.updated = m.updated || e.Type == TokenUpdated || e.Type == TokenRevoked || e.Type == TokenDeleted
	m.ids[idSlot(e.Type)] = id
	return m
}

// compare says whether e is above (1), at (0) or below (-1) the mark.
func (m mark) compare(e Event) int {
	if e.Type.AboutProvider() {
		return 0
	}
	return cmp.Or(cmp.Compare(e.Data.Generation, m.generation), cmp.Compare(e.Data.Version, m.version))
}

// idSlots is one for each known type, and one that all unknown types share.
const idSlots = 9

func idSlot(t Type) int {
	for i, known := range Types() {
		if t == known {
			return i
		}
	}
	return idSlots - 1
}
