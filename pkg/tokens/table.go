package tokens

import "sync"

// table finds the tokens that sources hand out by the ids of their credentials. It leads to them past the sources: of a
// hundred thousand credentials each step to somewhere else in memory costs more than everything else in a warm read.
//
// Concurrency: mu owns all. It is taken after a source's mu, never before it, and nothing is waited for under it.
type table struct {
	mu   sync.RWMutex
	byID map[string]*held
}

// set enters a token, or takes one out: nil.
func (t *table) set(id string, h *held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h == nil {
		delete(t.byID, id)
		return
	}
	t.byID[id] = h
}

// warm returns a token that may be handed out at now, in Unix nanoseconds; nil: there is none.
func (t *table) warm(id string, now int64) *held {
	t.mu.RLock()
	h := t.byID[id]
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
