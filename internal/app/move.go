package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// ErrWouldMove: a definition has another token_url than the one in force, whose grants would go there.
var ErrWouldMove = errors.New("another token_url would be given the grants that there are: " +
	"if it is the same provider's, apply with --move-grants; else give it another name")

// MoveGrants makes a definition take the grants of the token URL that is in force under its name.
func MoveGrants(ctx context.Context, b *broker.Broker, d *provider.Definition) error {
	have, _, err := b.Provider(ctx, d.Name)
	switch {
	case errors.Is(err, broker.ErrUnknownProvider), errors.Is(err, provider.ErrMalformed):
		return nil // nothing is known to move from
	case err != nil:
		return fmt.Errorf("move grants of provider %s: %w", d.Name, err)
	}
	if have.TokenURL != d.TokenURL {
		d.MovedFrom = append(slices.Clone(d.MovedFrom), have.TokenURL)
	}
	return nil
}

// keepMoves carries the moves that were allowed before on to a new definition, and refuses one that nobody has allowed. Where
// no credential has a grant there is nothing to move.
func keepMoves(ctx context.Context, b *broker.Broker, have provider.Entry, d provider.Definition) (provider.Definition, error) {
	if !d.TakesGrantsOf(have.TokenURL) {
		held, err := holdsGrants(ctx, b, d.Name)
		switch {
		case err != nil:
			return d, fmt.Errorf("look whether provider %s has grants: %w", d.Name, err)
		case held:
			return d, fmt.Errorf("%w (%s is in force)", ErrWouldMove, have.TokenURL)
		}
	}
	moved := slices.Concat(have.Definition.MovedFrom, d.MovedFrom)
	slices.Sort(moved)
	moved = slices.DeleteFunc(slices.Compact(moved), func(url string) bool { return url == d.TokenURL })
	if d.MovedFrom = moved; len(moved) == 0 {
		d.MovedFrom = nil
	}
	return d, nil
}

// holdsGrants reports whether any credential of a provider has something that could be presented.
func holdsGrants(ctx context.Context, b *broker.Broker, name string) (bool, error) {
	found := errors.New("found")
	err := b.Records(ctx, name+".>", func(s refresh.Stored, err error) error {
		if err != nil || len(s.Record.Grant) > 0 { // one that cannot be read may have a grant
			return found
		}
		return nil
	})
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}
