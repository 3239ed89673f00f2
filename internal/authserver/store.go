package authserver

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxGrants bounds the grants of one account that are kept. Beyond it the
// oldest that has ended goes, else the oldest.
const maxGrants = 16

// account is whose grants they are. mu guards what is below it.
type account struct {
	name     string
	requests [endpoints]atomic.Int64 // the draws of faults count these

	mu       sync.Mutex
	made     int // grants ever made
	families []*family
}

// store holds every grant and every account.
type store struct {
	families sharded[uint64, *family]
	accounts sharded[string, *account]
}

// account returns the account of that name, new if need be.
func (s *store) account(name string) *account {
	if a := s.accounts.get(name); a != nil {
		return a
	}
	return s.accounts.getOr(name, func() *account { return &account{name: name} })
}

// add files a family under its id and its account.
func (s *store) add(f *family, now time.Time) {
	s.families.put(f.id, f)
	a := f.holder
	a.mu.Lock()
	a.families = append(a.families, f)
	var out *family
	if len(a.families) > maxGrants {
		out = a.crowded()
	}
	a.mu.Unlock()
	if out == nil {
		return
	}
	out.mu.Lock()
	out.end(EndLimit, now)
	out.mu.Unlock()
	s.families.drop(out.id)
}

// crowded removes the family that has to make room. a.mu is held.
func (a *account) crowded() *family {
	i := slices.IndexFunc(a.families, func(f *family) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.ended != ""
	})
	i = max(i, 0)
	out := a.families[i]
	a.families = slices.Delete(a.families, i, i+1)
	return out
}

// grants returns the account's families, oldest first.
func (a *account) grants() []*family {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.families)
}

// next counts one more grant of the account.
func (a *account) next() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	return a.made
}

// shards spreads the locks of a sharded map.
const shards = 64

// sharded is a map for many goroutines.
type sharded[K comparable, V any] struct {
	seed  maphash.Seed
	parts [shards]struct {
		mu sync.RWMutex
		m  map[K]V
	}
}

func (s *sharded[K, V]) init() {
	s.seed = maphash.MakeSeed()
	for i := range s.parts {
		s.parts[i].m = map[K]V{}
	}
}

func (s *sharded[K, V]) part(k K) int {
	return int(maphash.Comparable(s.seed, k) % shards)
}

func (s *sharded[K, V]) get(k K) V {
	p := &s.parts[s.part(k)]
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.m[k]
}

func (s *sharded[K, V]) getOr(k K, make func() V) V {
	p := &s.parts[s.part(k)]
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.m[k]
	if !ok {
		v = make()
		p.m[k] = v
	}
	return v
}

func (s *sharded[K, V]) put(k K, v V) {
	p := &s.parts[s.part(k)]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.m[k] = v
}

func (s *sharded[K, V]) drop(k K) {
	p := &s.parts[s.part(k)]
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, k)
}

func (s *sharded[K, V]) len() int {
	n := 0
	for i := range s.parts {
		s.parts[i].mu.RLock()
		n += len(s.parts[i].m)
		s.parts[i].mu.RUnlock()
	}
	return n
}
