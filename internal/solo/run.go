package solo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// RunConfig describes `freshet run`. StoreDir is required.
type RunConfig struct {
	StoreDir  string
	Providers []provider.Definition
	// MoveGrants: where a token URL has changed, the grants that there are go to the new one.
	MoveGrants bool
	Port       int // of NATS, on loopback; 0: a free one
	// Web is where the dashboard and the pages to connect accounts are, a host and a port on loopback. "": nowhere.
	Web string
	Log zerolog.Logger
	// Keys is given the keysets and the files that they come from, to follow those; what it returns is called at the end. Optional.
	Keys func(grant, access *seal.Keyset, from app.KeysetFiles) (stop func())
	// Telemetry shows what it does. Optional.
	Telemetry *telemetry.Telemetry
	// Ready is told where the environment file and the dashboard, if any, are once everything runs. Optional.
	Ready func(envFile, dashboard string)
}

// Validate reports everything that is wrong, by the names of the command's flags.
func (c RunConfig) Validate() error {
	var noStore error
	if c.StoreDir == "" {
		noStore = errors.New("no store: give --store DIR")
	}
	return errors.Join(noStore, validPort("--nats-port", c.Port), validWeb(c.Web))
}

// validWeb refuses what others could reach: here nobody asks who comes.
func validWeb(address string) error {
	if address == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return fmt.Errorf("--web %q: want HOST:PORT", address)
	case !provider.Loopback(host):
		return fmt.Errorf("--web %s: want an address on loopback, such as 127.0.0.1:8481; freshet web serves beyond it, with TLS and a token", address)
	}
	return nil
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
	if cfg.Keys != nil {
		defer cfg.Keys(n.grant, n.access, n.keysets)()
	}
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
		return n.runProcesses(ctx, cfg.Web, func(dashboard string) {
			if cfg.Ready != nil {
				cfg.Ready(env, dashboard)
			}
		})
	})
	return g.Wait()
}

// runProcesses runs a scheduler, a worker and, where there is an address for them, the pages until ctx ends or one of them fails.
func (n *node) runProcesses(ctx context.Context, web string, started func(dashboard string)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	err := n.startScheduler(ctx, g)
	if err == nil {
		err = n.startWorker(ctx, g, "worker-1")
	}
	dashboard := ""
	if err == nil && web != "" {
		dashboard, err = n.startPages(ctx, g, web)
	}
	if err != nil {
		stop()
		return errors.Join(err, g.Wait())
	}
	started(dashboard)
	return g.Wait()
}

// startPages adds the pages to g and returns where they are.
func (n *node) startPages(ctx context.Context, g *errgroup.Group, address string) (string, error) {
	b, closeConn, err := n.connect()
	if err != nil {
		return "", err
	}
	if err := app.MeasureClock(ctx, b); err != nil {
		closeConn()
		return "", err
	}
	p, err := n.servePages(ctx, b, address, "freshet/run")
	if err != nil {
		closeConn()
		return "", err
	}
	g.Go(func() error {
		defer closeConn()
		err := b.RunClock(ctx)
		return errors.Join(err, p.stop())
	})
	return p.address, nil
}
