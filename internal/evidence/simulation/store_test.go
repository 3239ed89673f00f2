package simulation_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// maxRecord is what a NATS server takes by default, in bytes.
const maxRecord = 1 << 20

// memory is a refresh.Store in memory, with the semantics of the bucket: TestStoresAgree runs the same test on both. It
// keeps encoded records, so that nobody shares a pointer with what is stored.
type memory struct {
	// onPut hears of each write before the next call is served. Optional.
	onPut func(before, after refresh.Stored)

	mu       sync.Mutex
	revision uint64
	slots    map[string]slot
}

var _ refresh.Store = (*memory)(nil)

// slot is the last message under a key.
type slot struct {
	data     []byte
	header   map[string][]string
	revision uint64
	storedAt time.Time
	deleted  bool
}

func newMemory() *memory { return &memory{slots: make(map[string]slot)} }

// Get implements refresh.Store.
func (m *memory) Get(_ context.Context, c events.Credential) (refresh.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(c.Key())
}

func (m *memory) get(key string) (refresh.Stored, error) {
	at := m.slots[key]
	s := refresh.Stored{Revision: at.revision, StoredAt: at.storedAt}
	if at.revision == 0 || at.deleted {
		return s, fmt.Errorf("%w: %s", refresh.ErrNotFound, key)
	}
	r, err := refresh.DecodeRecord(at.data)
	if err != nil {
		return s, fmt.Errorf("%w: %s", refresh.ErrMalformed, key)
	}
	_, err = refresh.ParseSummary(at.header)
	s.Record, s.Headerless = r, err != nil
	return s, nil
}

// Put implements refresh.Store.
func (m *memory) Put(_ context.Context, w refresh.Write) (uint64, error) {
	c := w.Record.Credential()
	if err := c.Validate(); err != nil {
		return 0, err
	}
	data, err := w.Record.Encode()
	if err != nil {
		return 0, err
	}
	if len(data) > maxRecord {
		return 0, fmt.Errorf("%w: %s", refresh.ErrTooLarge, c)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slots[c.Key()].revision != w.Revision {
		return 0, fmt.Errorf("%w: %s", refresh.ErrConflict, c)
	}
	before, _ := m.get(c.Key())
	rev := m.set(c.Key(), slot{data: data, header: w.Record.Summary(w.Announce).Header()})
	if m.onPut != nil {
		after, _ := m.get(c.Key())
		m.onPut(before, after)
	}
	return rev, nil
}

// set stores a message; m.mu is held.
func (m *memory) set(key string, s slot) uint64 {
	m.revision++
	s.revision, s.storedAt = m.revision, time.Now()
	m.slots[key] = s
	return s.revision
}

// raw writes what is no record of ours, without headers.
func (m *memory) raw(c events.Credential, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(c.Key(), slot{data: data})
}

// erase leaves a marker, as deleting a key does.
func (m *memory) erase(c events.Credential) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(c.Key(), slot{deleted: true})
}

// seen is a record with what its headers announce.
type seen struct {
	refresh.Stored
	announce refresh.Announcement
}

// all returns every record, by key.
func (m *memory) all() (found []seen) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(m.slots)) {
		if s, err := m.get(key); err == nil {
			sum, _ := refresh.ParseSummary(m.slots[key].header)
			found = append(found, seen{s, sum.Announce})
		}
	}
	return found
}
