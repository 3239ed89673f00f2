package refresh

import (
	"sync"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// secretOrder remembers which of a provider's client secrets works. An attempt makes one request; when the
// provider refuses its secret, the next attempt takes the next one.
type secretOrder struct {
	mu    sync.Mutex
	known map[string]*secretState // by provider
}

type secretState struct {
	definition *provider.Definition // a new definition starts over
	next       int
	refused    int // in a row
}

// pick returns the secret to try and its index; the zero secret when there is none.
func (o *secretOrder) pick(d *provider.Definition) (seal.Secret, int) {
	if len(d.ClientSecrets) == 0 {
		return seal.Secret{}, 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.state(d).next
	return d.ClientSecrets[i], i
}

// refused notes that the provider refused a secret, and reports whether there is another one that was not refused
// since. Attempts that were in flight with the same secret count once.
func (o *secretOrder) refused(d *provider.Definition, index int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.state(d)
	if index == s.next && len(d.ClientSecrets) > 0 {
		s.next = (s.next + 1) % len(d.ClientSecrets)
		s.refused++
	}
	return s.refused < len(d.ClientSecrets)
}

// worked notes that the provider took a secret.
func (o *secretOrder) worked(d *provider.Definition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state(d).refused = 0
}

// state returns what is known of a provider. The caller holds mu.
func (o *secretOrder) state(d *provider.Definition) *secretState {
	s := o.known[d.Name]
	if s == nil || s.definition != d {
		if o.known == nil {
			o.known = make(map[string]*secretState)
		}
		s = &secretState{definition: d}
		o.known[d.Name] = s
	}
	return s
}
