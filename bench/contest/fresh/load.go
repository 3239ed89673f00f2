package fresh

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// storedAtOnce is how many grants are stored, and lanes told, at the same time.
const storedAtOnce = 64

// Load enrols the grants, as freshet import does, over the lanes in turn.
func (f *Fresh) Load(ctx context.Context, grants []authd.Grant) error {
	w := f.writer()
	g, limited := errgroup.WithContext(ctx)
	g.SetLimit(storedAtOnce)
	for i, grant := range grants {
		d := f.lane(i % max(1, f.variant.Lanes))
		g.Go(func() error {
			_, err := f.enrol(limited, w, &d, grant)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return f.subscribe()
}

// Enrol enrols grants with a provider that was applied, and returns when each is due.
func (f *Fresh) Enrol(ctx context.Context, d provider.Definition, grants []authd.Grant) (due map[string]time.Time, err error) {
	w, at := f.writer(), make([]time.Time, len(grants))
	g, limited := errgroup.WithContext(ctx)
	g.SetLimit(storedAtOnce)
	for i, grant := range grants {
		g.Go(func() (err error) {
			at[i], err = f.enrol(limited, w, &d, grant)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	due = make(map[string]time.Time, len(grants))
	for i, grant := range grants {
		due[grant.Account] = at[i]
	}
	return due, f.subscribe()
}

func (f *Fresh) writer() *enroll.Writer {
	return &enroll.Writer{
		Store: f.Broker, Teller: f.Broker.Publisher(), Source: "freshet/bench", Keys: f.keys(),
	}
}

func (f *Fresh) enrol(ctx context.Context, w *enroll.Writer, d *provider.Definition, g authd.Grant) (due time.Time, err error) {
	s, err := w.Enroll(ctx, d, events.Credential{Provider: d.Name, Account: g.Account}, enroll.NewGrant{
		RefreshToken: seal.NewSecret(g.RefreshToken), AccessToken: seal.NewSecret(g.AccessToken), ExpiresAt: g.ExpiresAt,
	})
	if err != nil {
		return time.Time{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grants[g.Account], f.versions[g.Account] = grant{d.Name, s.Record.GrantID}, s.Record.Version
	return s.Record.RefreshAt, nil
}

func (f *Fresh) keys() refresh.Keys {
	return refresh.Keys{Bucket: f.Broker.Names().TokensBucket(), Grant: f.grant, Access: f.access}
}

// Access is the keyset that readers have.
func (f *Fresh) Access() *seal.Keyset { return f.access }

// Connect returns a connection of its own.
func (f *Fresh) Connect() (*nats.Conn, error) { return nats.Connect(f.url) }

// Stored says how many records there are and how many bytes they take in the store.
func (f *Fresh) Stored(ctx context.Context) (records, bytes uint64, err error) {
	s, err := f.Broker.JetStream().Stream(ctx, f.Broker.Names().TokensStream())
	if err != nil {
		return 0, 0, fmt.Errorf("look at the records: %w", err)
	}
	state := s.CachedInfo().State
	return state.Msgs, state.Bytes, nil
}
