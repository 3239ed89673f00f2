package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Fleet is a NATS server, an authorization server, and the processes between them. The exported fields are set by
// Start and not changed afterwards.
type Fleet struct {
	NATS       *NATS    // any node of a cluster
	Cluster    *Cluster // nil: NATS is alone
	Auth       *authserver.Server
	AuthURL    string
	Broker     *broker.Broker // as operator
	Definition provider.Definition
	Keysets    app.KeysetFiles

	cfg           Config
	grant, access *seal.Keyset
	listening     *listening
	closers       []func() error // in the order of their making

	mu        sync.Mutex
	processes []*Process
	accounts  []string
}

// Start starts both servers and makes everything ready for processes: keysets, assets, the provider. On an error
// nothing is left running.
func Start(ctx context.Context, cfg Config) (*Fleet, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("start fleet: %w", err)
	}
	f := &Fleet{cfg: cfg}
	for _, step := range []func(context.Context) error{
		f.startAuth, f.startNATS, f.makeKeysets, f.setUp, f.apply, f.connect, f.listen,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("start fleet: %w", err), f.Close())
		}
	}
	return f, nil
}

// Close kills every process that still runs, and stops both servers.
func (f *Fleet) Close() error {
	var errs []error
	for _, p := range f.Processes() {
		errs = append(errs, p.Kill())
	}
	for _, c := range slices.Backward(f.closers) {
		errs = append(errs, c())
	}
	f.closers = nil
	return errors.Join(errs...)
}

func (f *Fleet) onClose(c func() error) { f.closers = append(f.closers, c) }

// startAuth serves the authorization server on a free loopback port.
func (f *Fleet) startAuth(context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the authorization server: %w", err)
	}
	f.AuthURL = "http://" + l.Addr().String()
	f.Definition = f.cfg.definition(f.AuthURL)
	f.Auth = authserver.New(f.cfg.Auth)
	srv := &http.Server{Handler: f.Auth, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	f.onClose(func() error {
		err := srv.Close()
		<-served // ErrServerClosed
		return err
	})
	return nil
}

func (f *Fleet) startNATS(ctx context.Context) (err error) {
	cfg := NATSConfig{Binary: f.cfg.Binaries.NATSServer, Dir: f.cfg.Dir, ConfigFile: f.cfg.NATSConfig, TLS: f.cfg.NATSTLS}
	if f.cfg.Nodes > 1 {
		if f.Cluster, err = StartCluster(ctx, cfg, f.cfg.Nodes); err != nil {
			return err
		}
		f.NATS = f.Cluster.Nodes[0]
		f.onClose(f.Cluster.Close)
		return nil
	}
	f.NATS, err = StartNATS(ctx, cfg)
	if err == nil {
		f.onClose(func() error { return f.NATS.Kill() })
	}
	return err
}

func (f *Fleet) makeKeysets(ctx context.Context) error {
	dir := filepath.Join(f.cfg.Dir, "keys")
	// It speaks to nobody, and takes no flags about NATS.
	c := Command{Name: "freshet keys generate", Path: f.cfg.Binaries.Freshet, Args: []string{"keys", "generate", "--dir", dir}}
	if err := succeed(c.Run(ctx)); err != nil {
		return err
	}
	f.Keysets = app.KeysetsIn(dir)
	return f.ReloadKeysets()
}

// ReloadKeysets makes what the fleet itself opens and seals follow the keyset files, after these have changed.
func (f *Fleet) ReloadKeysets() (err error) {
	f.grant, f.access, err = f.Keysets.Load()
	return err
}

func (f *Fleet) setUp(ctx context.Context) error {
	args := append([]string{"setup"}, f.cfg.Setup...)
	if f.Cluster != nil {
		return f.setUpCluster(ctx, append(args, "--replicas", "3"))
	}
	return succeed(f.Freshet(ctx, args...))
}

func (f *Fleet) apply(ctx context.Context) error {
	path := filepath.Join(f.cfg.Dir, "providers.yaml")
	if err := writeProviders(path, f.Definition); err != nil {
		return err
	}
	return succeed(f.Freshet(ctx, "apply", "-f", path, "--grant-keyset", f.Keysets.Grant))
}

// succeed makes an exit code other than 0 an error.
func succeed(out Output, err error) error {
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("exit code %d: %s%s", out.Code, out.Stdout, out.Stderr)
	}
	return err
}

func (f *Fleet) connect(context.Context) (err error) {
	f.Broker, err = f.open(RoleOperator)
	return err
}

// open returns a broker that outlives every fault of the server; Close closes it.
func (f *Fleet) open(role string) (*broker.Broker, error) {
	nc, err := f.NATS.Connect(role, broker.ConnectOptions(broker.ConnectHooks{})...)
	if err != nil {
		return nil, fmt.Errorf("connect as %s: %w", role, err)
	}
	f.onClose(func() error { nc.Close(); return nil })
	return broker.New(nc, broker.Config{})
}
