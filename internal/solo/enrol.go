package solo

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
)

// demoAccounts names n accounts, all of one length: user-01, user-02, …
func demoAccounts(n int) []string {
	accounts := make([]string, n)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("user-%0*d", len(strconv.Itoa(n)), i+1)
	}
	return accounts
}

// firstWithin bounds how soon after its enrolment the first token ends: before that no scheduler runs.
const firstWithin = 3 * time.Second

// firstLifetimes staggers the first access tokens from a sixth of the lifetime to all of it, so that the first refresh
// comes soon and refreshes spread from the beginning.
func firstLifetimes(accounts []string, lifetime time.Duration) map[string]time.Duration {
	shortest := min(max(lifetime/6, firstWithin), lifetime)
	step := (lifetime - shortest) / time.Duration(max(len(accounts)-1, 1))
	first := make(map[string]time.Duration, len(accounts))
	for i, account := range accounts {
		first[account] = shortest + time.Duration(i)*step
	}
	return first
}

// enrolAtOnce is how many logins run at the same time.
const enrolAtOnce = 16

// enrol takes every demo account through the real authorization code exchange; the program plays the user's browser.
func (d *dev) enrol(ctx context.Context, b *broker.Broker, def provider.Definition) error {
	receiver, err := enroll.NewReceiver()
	if err != nil {
		return err
	}
	defer receiver.Close()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	if err := app.MeasureClock(ctx, b); err != nil {
		return err
	}
	w := &enroll.Writer{
		Store: b, Teller: b.Publisher(), Keys: d.node.keys(b), Source: "freshet/dev", Now: b.Now,
	}
	g, logins := errgroup.WithContext(ctx)
	g.SetLimit(enrolAtOnce)
	for _, account := range d.accounts {
		if logins.Err() != nil {
			break
		}
		cred := demoCredential(account)
		g.Go(func() error {
			_, err := enroll.Login(logins, enroll.LoginConfig{
				Definition: &def, Credential: cred, OpenBrowser: enroll.PlayBrowser(client), Receiver: receiver,
				Save: func(ctx context.Context, grant enroll.NewGrant) error {
					_, err := w.Enroll(ctx, &def, cred, grant)
					return err
				},
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("enrol the demo accounts: %w", err)
	}
	return ctx.Err()
}
