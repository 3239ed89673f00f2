package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// enrolAtOnce is how many grants are stored at the same time.
const enrolAtOnce = 32

// Enrol makes n grants at the authorization server and stores them, as the enroller: the accounts user-0 and so on, after those
// that are there.
func (f *Fleet) Enrol(ctx context.Context, n int) error {
	b, err := f.open(RoleEnroller)
	if err != nil {
		return err
	}
	defer b.Conn().Close()
	w := &enroll.Writer{
		Store: b, Teller: b.Publisher(), Source: "freshet/fleet",
		Keys: refresh.Keys{Bucket: b.Names().TokensBucket(), Grant: f.grant, Access: f.access},
	}
	first := len(f.Accounts())
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(enrolAtOnce)
	for i := range n {
		g.Go(func() error { return f.enrol(ctx, w, fmt.Sprintf("user-%d", first+i)) })
	}
	return g.Wait()
}

func (f *Fleet) enrol(ctx context.Context, w *enroll.Writer, account string) error {
	began := time.Now()
	t, err := f.Auth.Issue(account, "")
	if err != nil {
		return fmt.Errorf("issue a grant for %s: %w", account, err)
	}
	c := events.Credential{Provider: Provider, Account: account}
	_, err = w.Enroll(ctx, &f.Definition, c, enroll.NewGrant{
		RefreshToken: seal.NewSecret(t.RefreshToken), AccessToken: seal.NewSecret(t.AccessToken), Scopes: t.Scopes,
		StartedAt: began, Lifetime: t.ExpiresAt.Sub(began).Truncate(time.Second), // whole seconds, as a reply has them
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accounts = append(f.accounts, account)
	return nil
}

// Accounts returns the accounts that are enrolled, in no particular order.
func (f *Fleet) Accounts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.accounts)
}
