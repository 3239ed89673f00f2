package app

import (
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// knownProvider is a provider with its secrets open.
type knownProvider struct {
	definition provider.Definition
	entry      provider.Entry
}

// providerTable holds the providers a worker knows.
type providerTable struct {
	keyset *seal.Keyset
	names  events.Names

	mu     sync.RWMutex
	known  map[string]*knownProvider
	filled bool
	notify chan struct{}
}

func newProviderTable(k *seal.Keyset, names events.Names) *providerTable {
	return &providerTable{keyset: k, names: names, known: make(map[string]*knownProvider), notify: make(chan struct{}, 1)}
}

// get returns a definition. It is replaced as a whole when the provider changes, never written to.
func (t *providerTable) get(name string) (*provider.Definition, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p, ok := t.known[name]
	if !ok {
		return nil, false
	}
	return &p.definition, true
}

// suspect reports whether a provider's rejections of that instant say nothing about the grants.
func (t *providerTable) suspect(name string, rejected, now time.Time) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p, ok := t.known[name]
	return ok && p.entry.Suspect(rejected, now)
}

// set opens an entry's secrets and takes it over. On an error the earlier definition stays.
func (t *providerTable) set(name string, e provider.Entry) error {
	if err := e.OpenSecrets(t.keyset, t.names.ProvidersBucket()); err != nil {
		return err
	}
	p := &knownProvider{definition: e.Definition.WithDefaults(), entry: e}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[name] = p
	t.poke()
	return nil
}

func (t *providerTable) remove(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, name)
}

// fill notes that a watch has brought every definition there is, forgets those that it has not seen, and returns their names.
func (t *providerTable) fill(seen map[string]bool) (forgotten []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.known {
		if !seen[name] {
			forgotten = append(forgotten, name)
			delete(t.known, name)
		}
	}
	t.filled = true
	t.poke()
	return forgotten
}

func (t *providerTable) ready() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.filled
}

// changed is readable after a definition came in.
func (t *providerTable) changed() <-chan struct{} { return t.notify }

func (t *providerTable) poke() {
	select {
	case t.notify <- struct{}{}:
	default:
	}
}
