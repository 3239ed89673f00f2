package solo

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// firstRetry and maxRetry bound the wait before an issuer that could not be asked is asked again; it doubles in between.
const (
	firstRetry = time.Second
	maxRetry   = 5 * time.Minute
)

// undiscovered is a provider whose issuer could not be asked yet.
type undiscovered struct {
	definition provider.Definition
	stored     provider.Entry // what was applied before it was first tried
}

// providers applies definitions.
type providers struct {
	*node
	broker     *broker.Broker
	ask        *refresh.Asker
	moveGrants bool
}

// withProviders runs something on a connection and an asker of its own.
func (n *node) withProviders(moveGrants bool, do func(providers) error) error {
	b, closeConn, err := n.connect()
	if err != nil {
		return err
	}
	defer closeConn()
	ask := refresh.NewAsker(nil)
	defer ask.CloseIdle()
	return do(providers{n, b, ask, moveGrants})
}

// auditLog returns what writes audit entries of this process.
func (n *node) auditLog(b *broker.Broker, source string) *audit.Log {
	return app.AuditLog(b, strings.ReplaceAll(source, "/", " "), source, func(err error) { n.log.Warn().Err(err).Msg("no audit entry") })
}

// prepare makes the assets and applies the providers. Those whose issuer cannot be asked come back: they keep nobody else waiting.
func (n *node) prepare(ctx context.Context, defs []provider.Definition, moveGrants bool) (later []undiscovered, err error) {
	err = n.withProviders(moveGrants, func(p providers) error {
		if _, err := p.broker.Setup(ctx, broker.SetupConfig{}); err != nil {
			return err
		}
		for _, d := range defs {
			err := p.apply(ctx, d)
			if !errors.Is(err, app.ErrUndiscovered) {
				if err != nil {
					return err
				}
				continue
			}
			n.log.Warn().Str("provider", d.Name).Err(err).Msg("this provider cannot start yet; the others do, and its issuer is asked again")
			stored, err := p.stored(ctx, d.Name)
			if err != nil {
				return err
			}
			later = append(later, undiscovered{definition: d, stored: stored})
		}
		return nil
	})
	return later, err
}

// stored is a provider's entry as it was applied, zero where there is none. What becomes of its lane is left out: each pause has a
// revision of its own.
func (p providers) stored(ctx context.Context, name string) (provider.Entry, error) {
	e, _, err := p.broker.Provider(ctx, name)
	if errors.Is(err, broker.ErrUnknownProvider) {
		return provider.Entry{}, nil
	}
	e.Pause, e.RejectionsSince = nil, time.Time{}
	return e, err
}

// apply discovers and applies one provider.
func (p providers) apply(ctx context.Context, d provider.Definition) error {
	d, notes, err := app.Discover(ctx, p.broker, p.ask, d)
	if err != nil {
		return err
	}
	p.auditLog(p.broker, "freshet/run").Note(ctx, audit.About(audit.Applied, events.Credential{Provider: d.Name}))
	if p.moveGrants {
		if err := app.MoveGrants(ctx, p.broker, &d); err != nil {
			return err
		}
	}
	a, err := app.Apply(ctx, p.broker, p.grant, d, false)
	if err != nil {
		return err
	}
	for _, w := range append(a.Warnings, notes...) {
		p.log.Warn().Str("provider", d.Name).Msg(w)
	}
	return nil
}

// applyLater tries providers again until each is there or ctx ends.
func (n *node) applyLater(ctx context.Context, later []undiscovered, moveGrants bool) error {
	if len(later) == 0 {
		return nil
	}
	return n.withProviders(moveGrants, func(p providers) error {
		for pause := firstRetry; len(later) > 0 && sleep.For(ctx, pause); pause = min(2*pause, maxRetry) {
			var left []undiscovered
			for _, u := range later {
				if !p.tryAgain(ctx, u) {
					left = append(left, u)
				}
			}
			later = left
		}
		return nil
	})
}

// tryAgain reports whether nothing is left to do for a provider: it was applied, by us or by somebody else meanwhile, or what its
// issuer says now makes it one that only a person can mend.
func (p providers) tryAgain(ctx context.Context, u undiscovered) bool {
	log := p.log.With().Str("provider", u.definition.Name).Logger()
	switch stored, err := p.stored(ctx, u.definition.Name); {
	case err != nil:
		return false
	case !reflect.DeepEqual(stored, u.stored):
		log.Info().Msg("this provider was applied meanwhile")
		return true
	}
	err := p.apply(ctx, u.definition)
	switch {
	case ctx.Err() != nil, errors.Is(err, app.ErrUndiscovered):
		return false // that was said
	case err != nil:
		log.Error().Err(err).Msg("this provider is not applied: correct it, and run freshet apply")
	default:
		log.Info().Msg("this provider's issuer has answered: it is applied")
	}
	return true
}
