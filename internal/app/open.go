package app

import (
	"context"
	"fmt"

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

// OpenProviders reads all of them, by name. One that cannot be read or opened is an error.
func OpenProviders(ctx context.Context, b *broker.Broker, k *seal.Keyset) (map[string]*provider.Definition, error) {
	list, err := b.Providers(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*provider.Definition, len(list))
	for name, l := range list {
		if l.Err != nil {
			return nil, fmt.Errorf("read provider %s: %w", name, l.Err)
		}
		if all[name], err = openEntry(l.Entry, k, b.Names().ProvidersBucket()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func openEntry(e provider.Entry, k *seal.Keyset, bucket string) (*provider.Definition, error) {
	if err := e.OpenSecrets(k, bucket); err != nil {
		return nil, err
	}
	d := e.Definition.WithDefaults()
	return &d, nil
}
