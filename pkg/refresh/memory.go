package refresh

import "sync"

const (
	// memorySize is how many records an engine remembers at most, of some 2 KB each as a rule.
	memorySize = 16 << 10
	// memoryLargest is up to how many bytes of tokens, and of what came with them, a record is remembered.
	memoryLargest = 8 << 10
)

// memory holds records as this engine committed them, sealed as they are, so that the next attempt for one need not read it
// first. It may be behind the store, like any first look. A record leaves with the attempt that begins with it, or when twice as
// many have come since as half of the memory takes.
type memory struct {
	mu         sync.Mutex
	young, old map[string]memento
}

// memento is a record, and the epoch of the store in which it was committed.
type memento struct {
	stored Stored
	epoch  uint64
}

func (m *memory) put(key string, e memento) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.young == nil || len(m.young) >= memorySize/2 {
		m.young, m.old = make(map[string]memento), m.young
	}
	m.young[key] = e
}

// take returns what is remembered under a key, and forgets it.
func (m *memory) take(key string) (e memento, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok = m.young[key]; !ok {
		e, ok = m.old[key]
	}
	delete(m.young, key)
	delete(m.old, key)
	return e, ok
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
	m := memento{stored: *s, epoch: epoch}
	m.stored.StoredAt = e.cfg.Now() // NATS has given it another one, which counts only where there is a claim
	e.memory.put(key, m)
}

// recollect returns a record as this engine committed it, if the job knows of none that is newer.
func (e *Engine) recollect(key string, job Job) (Stored, bool) {
	if e.cfg.Epoch == nil {
		return Stored{}, false
	}
	m, ok := e.memory.take(key)
	r := &m.stored.Record
	ok = ok && m.epoch == e.cfg.Epoch() && r.Version >= job.NewerThan && (job.GrantID == "" || job.GrantID == r.GrantID)
	return m.stored, ok
}
