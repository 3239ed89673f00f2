package solo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/provider"
)

// RunConfig describes `freshet run`. StoreDir is required.
type RunConfig struct {
	StoreDir  string
	Providers []provider.Definition
	// MoveGrants: where a token URL has changed, the grants that there are go to the new one.
	MoveGrants bool
	Port       int // of NATS, on loopback; 0: a free one
	Log        zerolog.Logger
	// Telemetry shows what it does. Optional.
	Telemetry *telemetry.Telemetry
	// Ready is told where the environment file is once everything runs. Optional.
	Ready func(envFile string)
}

// Validate reports everything that is wrong, by the names of the command's flags.
func (c RunConfig) Validate() error {
	var noStore error
	if c.StoreDir == "" {
		noStore = errors.New("no store: give --store DIR")
	}
	return errors.Join(noStore, validPort("--nats-port", c.Port))
}

// Run runs scheduler, worker and a persistent NATS until ctx ends. A provider of which nothing is known, and whose issuer cannot be asked,
// is applied once that can. Errors: embedded.ErrInUse for a store that another
// process has, embedded.ErrPortTaken.
func Run(ctx context.Context, cfg RunConfig) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	dir, err := filepath.Abs(cfg.StoreDir)
	if err != nil {
		return fmt.Errorf("store directory: %w", err)
	}
	n, err := open(dir, embedded.Config{Port: cfg.Port, User: "freshet", Password: password(), SyncEveryWrite: true}, cfg.Log)
	if err != nil {
		return err
	}
	defer n.server.Shutdown()
	n.telemetry = cfg.Telemetry
	later, err := n.prepare(ctx, cfg.Providers, cfg.MoveGrants)
	if err != nil {
		return cancelled(ctx, err)
	}
	env, err := n.writeEnv()
	if err != nil {
		return err
	}
	defer n.removeEnv()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.applyLater(ctx, later, cfg.MoveGrants) })
	g.Go(func() error {
		return n.runProcesses(ctx, func() {
			if cfg.Ready != nil {
				cfg.Ready(env)
			}
		})
	})
	return g.Wait()
}

// runProcesses runs a scheduler and a worker until ctx ends or one of them fails.
func (n *node) runProcesses(ctx context.Context, started func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	err := n.startScheduler(ctx, g)
	if err == nil {
		err = n.startWorker(ctx, g, "worker-1")
	}
	if err != nil {
		stop()
		return errors.Join(err, g.Wait())
	}
	started()
	return g.Wait()
}
