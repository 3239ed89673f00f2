package broker

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// Provider reads a provider's entry from the leader. It fails with ErrUnknownProvider where there is none; the
// revision is still what a write must name (a deleted entry leaves a marker). An entry that cannot be read gives an
// error that wraps provider.ErrMalformed, likewise with its revision.
func (b *Broker) Provider(ctx context.Context, name string) (provider.Entry, uint64, error) {
	if err := validProvider(name); err != nil {
		return provider.Entry{}, 0, err
	}
	m, ok, err := b.last(ctx, b.names.ProvidersStream(), b.names.ProviderSubject(name))
	if err != nil {
		return provider.Entry{}, 0, fmt.Errorf("read provider %s: %w", name, err)
	}
	if !ok {
		return provider.Entry{}, 0, unknownProvider(name)
	}
	e, err := readProvider(name, m)
	return e, m.revision, err
}

func validProvider(name string) error {
	if !events.ValidProvider(name) {
		return fmt.Errorf("%w: provider %q", events.ErrName, name)
	}
	return nil
}

func unknownProvider(name string) error {
	return fmt.Errorf("%w: %s: run %q", ErrUnknownProvider, name, "freshet apply")
}

func readProvider(name string, m stored) (provider.Entry, error) {
	if m.deleted() {
		return provider.Entry{}, unknownProvider(name)
	}
	return provider.DecodeEntry(name, m.data)
}

// PutProvider writes a provider's entry where its last one is at revision (0: there is none) and returns the new
// revision. Errors are those of refresh.Store's Put.
func (b *Broker) PutProvider(ctx context.Context, name string, e provider.Entry, revision uint64) (uint64, error) {
	if err := validProvider(name); err != nil {
		return 0, err
	}
	data, err := provider.EncodeEntry(e)
	if err != nil {
		return 0, fmt.Errorf("write provider %s: %w", name, err)
	}
	rev, err := b.replace(ctx, &nats.Msg{Subject: b.names.ProviderSubject(name), Data: data}, revision)
	if err != nil {
		return 0, fmt.Errorf("write provider %s: %w", name, err)
	}
	return rev, nil
}

// ListedProvider is one entry of a list.
type ListedProvider struct {
	Entry    provider.Entry
	Revision uint64
	Err      error // wraps provider.ErrMalformed; Entry is then not to be used
}

// Providers reads all entries, by name. It is meant for lists: a replica may answer.
func (b *Broker) Providers(ctx context.Context) (map[string]ListedProvider, error) {
	all := make(map[string]ListedProvider)
	f := b.followProviders(func(name string, m stored) {
		e, err := readProvider(name, m)
		all[name] = ListedProvider{Entry: e, Revision: m.revision, Err: err}
		if m.deleted() {
			delete(all, name)
		}
	})
	if err := f.read(ctx); err != nil {
		return nil, fmt.Errorf("list providers: %w", err)
	}
	return all, nil
}

// WatchProviders delivers every provider's entry, then every change, under the contract of WatchRecords. err is set where
// there is no entry to use: it wraps ErrUnknownProvider for one that was deleted, provider.ErrMalformed for one that
// cannot be read.
func (b *Broker) WatchProviders(
	ctx context.Context, handle func(name string, e provider.Entry, revision uint64, err error), caughtUp func(),
) error {
	f := b.followProviders(func(name string, m stored) {
		e, err := readProvider(name, m)
		handle(name, e, m.revision, err)
	})
	f.caughtUp = caughtUp
	return f.run(ctx)
}

func (b *Broker) followProviders(handle func(name string, m stored)) *follow {
	head := b.names.ProviderSubject("")
	return &follow{
		b: b, stream: b.names.ProvidersStream(),
		handle: func(subject string, m stored) error {
			handle(strings.TrimPrefix(subject, head), m)
			return nil
		},
	}
}
