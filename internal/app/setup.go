package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
)

// Setup creates the streams and buckets that are missing, and the lanes of the known providers, and compares what is
// there with what it should be. Nothing that exists is changed. A provider whose entry cannot be read is an
// ErrUnusable; what else was done is returned with it.
func Setup(ctx context.Context, b *broker.Broker, cfg broker.SetupConfig) ([]broker.Change, error) {
	changes, err := b.Setup(ctx, cfg)
	if err != nil {
		return changes, err
	}
	list, err := b.Providers(ctx)
	if cfg.DryRun && errors.Is(err, broker.ErrNotSetUp) {
		return changes, nil // without a bucket there is no provider
	}
	if err != nil {
		return changes, err
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if list[name].Err != nil {
			faults = append(faults, fmt.Errorf("%w: %s: apply it again: %w", ErrUnusable, name, list[name].Err))
			continue
		}
		c, err := setupLane(ctx, b, list[name].Entry.Definition, cfg.DryRun)
		if err != nil {
			return changes, errors.Join(append(faults, err)...)
		}
		changes = append(changes, c)
	}
	return changes, errors.Join(faults...)
}

// setupLane creates a lane that is missing. One whose settings are not what its definition declares is left to apply.
func setupLane(ctx context.Context, b *broker.Broker, d provider.Definition, dryRun bool) (broker.Change, error) {
	c, err := b.EnsureLane(ctx, d, true)
	switch {
	case err == nil && c.Action == broker.ActionCreate && !dryRun:
		return b.EnsureLane(ctx, d, false)
	case c.Action == broker.ActionUpdate:
		c.Action = broker.ActionDiffer
	}
	return c, err
}
