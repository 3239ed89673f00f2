package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// OpenProvider reads a provider's definition with its defaults and its client secrets open.
func OpenProvider(ctx context.Context, b *broker.Broker, k *seal.Keyset, name string) (*provider.Definition, error) {
	e, _, err := b.Provider(ctx, name)
	if err != nil {
		return nil, err
	}
	return openEntry(e, k, b.Names().ProvidersBucket())
}

// ErrUnusable marks a provider whose entry cannot be read or opened: applying it again mends it.
var ErrUnusable = errors.New("provider cannot be used")

// OpenProviders reads all of them, by name. Those that cannot be read or opened are left out and named in the error, which
// then is an ErrUnusable; the others can be used all the same. After any other error there are none.
func OpenProviders(ctx context.Context, b *broker.Broker, k *seal.Keyset) (map[string]*provider.Definition, error) {
	list, err := b.Providers(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*provider.Definition, len(list))
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(list)) {
		l := list[name]
		d, err := (*provider.Definition)(nil), l.Err
		if err == nil {
			d, err = openEntry(l.Entry, k, b.Names().ProvidersBucket())
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%w: %s: apply it again, or give the keyset it was applied with: %w", ErrUnusable, name, err))
			continue
		}
		all[name] = d
	}
	return all, errors.Join(faults...)
}

func openEntry(e provider.Entry, k *seal.Keyset, bucket string) (*provider.Definition, error) {
	if err := e.OpenSecrets(k, bucket); err != nil {
		return nil, err
	}
	d := e.Definition.WithDefaults()
	return &d, nil
}
