package fresh

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// storedAtOnce is how many grants are stored at the same time.
const storedAtOnce = 64

// Load enrols the grants, as freshet import does.
func (f *Fresh) Load(ctx context.Context, grants []authd.Grant) error {
	w := &enroll.Writer{
		Store: f.Broker, Teller: events.NewPublisher(f.Broker.JetStream(), f.Broker.Names()), Source: "freshet/bench", Keys: f.keys(),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(storedAtOnce)
	for _, grant := range grants {
		g.Go(func() error { return f.enrol(ctx, w, grant) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return f.subscribe()
}

func (f *Fresh) enrol(ctx context.Context, w *enroll.Writer, g authd.Grant) error {
	c := events.Credential{Provider: Provider, Account: g.Account}
	s, err := w.Enroll(ctx, &f.Definition, c, enroll.NewGrant{
		RefreshToken: seal.NewSecret(g.RefreshToken), AccessToken: seal.NewSecret(g.AccessToken), ExpiresAt: g.ExpiresAt,
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grants[g.Account], f.versions[g.Account] = s.Record.GrantID, s.Record.Version
	return nil
}

func (f *Fresh) keys() refresh.Keys {
	return refresh.Keys{Bucket: f.Broker.Names().TokensBucket(), Grant: f.grant, Access: f.access}
}
