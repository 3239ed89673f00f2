package app

import (
	"sync"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// providerTable holds the definitions a worker knows, with their secrets open.
type providerTable struct {
	keyset *seal.Keyset
	names  events.Names

	mu     sync.RWMutex
	known  map[string]*provider.Definition
	filled bool
	notify chan struct{}
}

func newProviderTable(k *seal.Keyset, names events.Names) *providerTable {
	return &providerTable{keyset: k, names: names, known: make(map[string]*provider.Definition), notify: make(chan struct{}, 1)}
}

// get returns a definition. It is replaced as a whole when the provider changes, never written to.
func (t *providerTable) get(name string) (*provider.Definition, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	d, ok := t.known[name]
	return d, ok
}

// set opens an entry's secrets and takes it over. On an error the earlier definition stays.
func (t *providerTable) set(name string, e provider.Entry) error {
	if err := e.OpenSecrets(t.keyset, t.names.ProvidersBucket()); err != nil {
		return err
	}
	d := e.Definition.WithDefaults()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[name] = &d
	t.poke()
	return nil
}

func (t *providerTable) remove(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, name)
}

// fill notes that every definition there was at the start is in.
func (t *providerTable) fill() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.filled = true
	t.poke()
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
