package solo

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/pkg/provider"
)

// RunConfig describes `freshet run`. StoreDir is required.
type RunConfig struct {
	StoreDir  string
	Providers []provider.Definition
	Port      int // of NATS, on loopback; 0: a free one
	Log       zerolog.Logger
	// Ready is told where the environment file is once everything runs. Optional.
	Ready func(envFile string)
}

// Run runs scheduler, worker and a persistent NATS until ctx ends. Errors: embedded.ErrInUse for a store that another
// process has.
func Run(ctx context.Context, cfg RunConfig) error {
	dir, err := filepath.Abs(cfg.StoreDir)
	if err != nil {
		return fmt.Errorf("store directory: %w", err)
	}
	n, err := open(dir, embedded.Config{Port: cfg.Port, User: "freshet", Password: password(), SyncEveryWrite: true}, cfg.Log)
	if err != nil {
		return err
	}
	defer n.server.Shutdown()
	if err := n.prepare(ctx, cfg.Providers); err != nil {
		return err
	}
	env, err := n.writeEnv()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if err := n.startScheduler(ctx, g); err != nil {
		return err
	}
	if err := n.startWorker(ctx, g, "worker-1"); err != nil {
		return err
	}
	if cfg.Ready != nil {
		cfg.Ready(env)
	}
	return g.Wait()
}

// prepare makes the assets and applies the providers.
func (n *node) prepare(ctx context.Context, defs []provider.Definition) error {
	b, closeConn, err := n.connect()
	if err != nil {
		return err
	}
	defer closeConn()
	if _, err := b.Setup(ctx, broker.SetupConfig{}); err != nil {
		return err
	}
	for _, d := range defs {
		a, err := app.Apply(ctx, b, n.grant, d, false)
		if err != nil {
			return err
		}
		for _, w := range a.Warnings {
			n.log.Warn().Str("provider", d.Name).Msg(w)
		}
	}
	return nil
}
