package solo

import (
	"context"
	"crypto/rand"
	"path/filepath"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// node is one process's NATS server, its keysets, and what runs on them.
type node struct {
	dir           string
	server        *embedded.Server
	keysets       app.KeysetFiles
	grant, access *seal.Keyset
	log           zerolog.Logger
	telemetry     *telemetry.Telemetry // nil: nobody looks

	onResult    func(refresh.Result)
	onPublished func(string, events.Reason)
}

// open starts the server on dir and loads its keysets, which it makes where there are none.
func open(dir string, cfg embedded.Config, log zerolog.Logger) (*node, error) {
	n := &node{dir: dir, log: log, keysets: app.KeysetsIn(filepath.Join(dir, "keys"))}
	cfg.StoreDir = filepath.Join(dir, "nats")
	var err error
	if n.server, err = embedded.Start(cfg); err != nil {
		return nil, err
	}
	if err := n.loadKeys(); err != nil {
		n.server.Shutdown()
		return nil, err
	}
	return n, nil
}

func (n *node) loadKeys() error {
	if err := app.EnsureKeysets(filepath.Join(n.dir, "keys")); err != nil {
		return err
	}
	var err error
	n.grant, n.access, err = n.keysets.Load()
	return err
}

// connect opens JetStream on a connection of its own.
func (n *node) connect() (*broker.Broker, func(), error) {
	nc, err := n.server.Connect(app.ConnectOptions(zerolog.Nop())...)
	if err != nil {
		return nil, nil, err
	}
	b, err := broker.New(nc, broker.Config{})
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return b, nc.Close, nil
}

// startScheduler adds a scheduler to g.
func (n *node) startScheduler(ctx context.Context, g *errgroup.Group) error {
	const name = "scheduler-1"
	nc, err := n.server.Connect(app.ConnectOptions(app.Component(n.log, "scheduler", name))...)
	if err != nil {
		return err
	}
	g.Go(func() error {
		defer nc.Close()
		return app.RunScheduler(ctx, app.SchedulerConfig{Name: name, Conn: nc, Log: n.log, OnPublished: n.onPublished, Telemetry: n.telemetry})
	})
	return nil
}

// startWorker adds a worker to g.
func (n *node) startWorker(ctx context.Context, g *errgroup.Group, name string) error {
	nc, err := n.server.Connect(app.ConnectOptions(app.Component(n.log, "worker", name))...)
	if err != nil {
		return err
	}
	g.Go(func() error {
		defer nc.Close()
		return app.RunWorker(ctx, app.WorkerConfig{
			Name: name, Conn: nc, Grant: n.grant, Access: n.access, StateDir: filepath.Join(n.dir, "state", name),
			Log: n.log, OnResult: n.onResult, Telemetry: n.telemetry,
		})
	})
	return nil
}

func (n *node) keys(b *broker.Broker) refresh.Keys {
	return refresh.Keys{Bucket: b.Names().TokensBucket(), Grant: n.grant, Access: n.access}
}

// password draws one for the port, so that other users of the machine stay out.
func password() string { return rand.Text() }
