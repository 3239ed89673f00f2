package refresh

import (
	"container/list"
	"sync"
)

const (
	// memorySize is how many records an engine remembers at most, of some 2 KB each as a rule.
	memorySize = 10 << 10
	// memoryLargest is up to how many bytes of tokens, and of what came with them, a record is remembered.
	memoryLargest = 8 << 10
)

// memory holds records as this engine committed them, sealed as they are, so that the next attempt for one need not read it
// first. It may be behind the store, like any first look. A record leaves with the attempt that begins with it, or when as many have
// come since as the memory takes.
type memory struct {
	mu    sync.Mutex
	byKey map[string]*list.Element
	order list.List // of *memento, the oldest first
}

// memento is a record, and the epoch of the store in which it was committed.
type memento struct {
	key    string
	stored Stored
	epoch  uint64
}

func (m *memory) put(e *memento) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil {
		m.byKey = make(map[string]*list.Element)
	}
	m.forget(m.byKey[e.key])
	if m.order.Len() >= memorySize {
		m.forget(m.order.Front())
	}
	m.byKey[e.key] = m.order.PushBack(e)
}

// take returns what is remembered under a key, and forgets it; nil: nothing.
func (m *memory) take(key string) *memento {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.forget(m.byKey[key])
}

// forget takes an element out, if there is one. The caller holds mu.
func (m *memory) forget(at *list.Element) *memento {
	if at == nil {
		return nil
	}
	e := m.order.Remove(at).(*memento)
	delete(m.byKey, e.key)
	return e
}

// epoch is that of the store now; 0 where nobody counts.
func (e *Engine) epoch() uint64 {
	if e.cfg.Epoch == nil {
		return 0
	}
	return e.cfg.Epoch()
}

// remember keeps a record that was just committed. epoch is that of before the write: in a later one the store may have forgotten it.
func (e *Engine) remember(key string, s *Stored, epoch uint64) {
	r := &s.Record
	if e.cfg.Epoch == nil || len(r.Access)+len(r.Grant)+len(r.Meta) > memoryLargest || len(r.unknown) > 0 {
		return
	}
	m := &memento{key: key, stored: *s, epoch: epoch}
	m.stored.StoredAt = e.cfg.Now() // NATS has given it another one, which counts only where there is a claim
	e.memory.put(m)
}

// recollect returns a record as this engine committed it, if the job knows of none that is newer; nil: there is none.
func (e *Engine) recollect(key string, job Job) *Stored {
	if e.cfg.Epoch == nil {
		return nil
	}
	m := e.memory.take(key)
	if m == nil || m.epoch != e.cfg.Epoch() {
		return nil
	}
	r := &m.stored.Record
	if r.Version < job.NewerThan || job.GrantID != "" && job.GrantID != r.GrantID {
		return nil
	}
	return &m.stored
}
