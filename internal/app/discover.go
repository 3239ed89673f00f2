package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/discovery"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// ErrUndiscovered: the issuer cannot be asked now, and nothing was found there earlier.
var ErrUndiscovered = errors.New("the issuer cannot be asked, and its endpoints are not known")

// Discover fills in what a definition leaves to its issuer's metadata, and returns what a person should know of it. Where the
// issuer cannot be asked, what was found there earlier stays; it is an error only if the token endpoint is then
// missing: ErrUndiscovered where it may pass. Metadata of another issuer is always an error.
func Discover(ctx context.Context, b *broker.Broker, ask *refresh.Asker, d provider.Definition) (provider.Definition, []string, error) {
	if d.Issuer == "" {
		return d, nil, nil
	}
	m, err := discovery.Find(ctx, ask, &d)
	switch {
	case err == nil:
		d = m.Fill(d)
		return d, m.Doubts(&d), nil
	case errors.Is(err, discovery.ErrMismatch), ctx.Err() != nil:
		return d, nil, fmt.Errorf("discover provider %s: %w", d.Name, err)
	}
	have, _, readErr := b.Provider(ctx, d.Name)
	if readErr == nil && have.Issuer == d.Issuer {
		d = discovery.Of(have.Definition).Fill(d)
	}
	if d.TokenURL == "" && !errors.Is(err, discovery.ErrNone) {
		return d, nil, fmt.Errorf("discover provider %s: %w: %w; or give token_url and the other endpoints", d.Name, ErrUndiscovered, err)
	}
	if d.TokenURL == "" {
		return d, nil, fmt.Errorf("discover provider %s: %w; or give token_url and the other endpoints", d.Name, err)
	}
	note := "only what is given is used: "
	if len(d.Discovered) > 0 {
		note = "what was found earlier stays: "
	}
	return d, []string{note + strings.ReplaceAll(err.Error(), "\n", "; ")}, nil
}
