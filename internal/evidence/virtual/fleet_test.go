package virtual_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// fleetConfig says what a fleet is made of.
type fleetConfig struct {
	Auth                authserver.Config
	Provider            func(*provider.Definition) // changes the definition before it is applied; nil: nothing
	Schedulers, Workers int
	// Dial stands before the network to the authorization server. nil: nothing does.
	Dial func(worker string, dial dialFunc) dialFunc
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// fleet is nats-server, an authorization server and the processes between them, all of it real and in one bubble.
type fleet struct {
	*broker.Broker
	t             *testing.T
	ctx           context.Context
	cfg           fleetConfig
	dir           string
	nats          *natstest.Server
	grant, access *seal.Keyset
	auth          *authserver.Server
	network       *authserver.Pipe
	refusing      atomic.Bool // the network refuses connections
	acme          provider.Definition
	writer        *enroll.Writer
	stops         []func() // schedulers first, then workers

	mu       sync.Mutex
	classes  map[refresh.Class]int // of attempts
	attempts int
	idle     int // jobs that ended without one
	seconds  map[int64]int
}

func newFleet(t *testing.T, cfg fleetConfig) *fleet {
	t.Helper()
	f := &fleet{
		t: t, ctx: context.WithoutCancel(t.Context()), cfg: cfg, dir: t.TempDir(),
		classes: make(map[refresh.Class]int), seconds: make(map[int64]int),
	}
	f.nats = natstest.Run(t, natstest.Options{StoreDir: filepath.Join(f.dir, "nats")})
	keys, err := app.GenerateKeysets(filepath.Join(f.dir, "keys"))
	f.must(err)
	f.grant, f.access, err = keys.Load()
	f.must(err)
	f.Broker, err = broker.New(f.connect(), broker.Config{})
	f.must(err)
	_, err = f.Setup(f.ctx, broker.SetupConfig{})
	f.must(err)
	f.serve()
	f.acme = f.definition()
	_, err = app.Apply(f.ctx, f.Broker, f.grant, f.acme, false)
	f.must(err)
	f.writer = &enroll.Writer{Store: f, Teller: f.Publisher(), Keys: f.keys()}
	for i := range cfg.Schedulers {
		f.run(fmt.Sprintf("s%d", i+1), func(ctx context.Context, name string, nc *nats.Conn) error {
			return app.RunScheduler(ctx, app.SchedulerConfig{Name: name, Conn: nc})
		})
	}
	for i := range cfg.Workers {
		f.run(fmt.Sprintf("w%d", i+1), f.worker)
	}
	return f
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) keys() refresh.Keys {
	return refresh.Keys{Bucket: f.Names().TokensBucket(), Grant: f.grant, Access: f.access}
}

func (f *fleet) connect() *nats.Conn {
	f.t.Helper()
	nc, err := nats.Connect("", append(app.ConnectOptions(zerolog.Nop()), nats.InProcessServer(f.nats))...)
	f.must(err)
	f.t.Cleanup(func() { natstest.Close(nc) })
	return nc
}

// serve brings the authorization server onto its network. Each request makes a connection of its own, so that refused
// ones are a share of the requests.
func (f *fleet) serve() {
	f.auth, f.network = authserver.New(f.cfg.Auth), authserver.NewPipe()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seconds[time.Now().Unix()]++
		f.mu.Unlock()
		f.auth.ServeHTTP(w, r)
	})}
	srv.SetKeepAlivesEnabled(false)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(f.network) }()
	f.t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
}

func (f *fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if f.refusing.Load() {
		return nil, refused(network)
	}
	return f.network.Dial(ctx, network, addr)
}

func refused(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func (f *fleet) definition() provider.Definition {
	const at = "http://127.0.0.1:9"
	d := provider.Definition{
		Name: "acme", AuthURL: at + "/authorize", TokenURL: at + "/token", RevokeURL: at + "/revoke",
		ClientID: "dev", ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
		Rotation: provider.Rotation(f.cfg.Auth.Rotation),
	}
	if f.cfg.Auth.Rotation == authserver.RotationGrace {
		d.RotationGrace = provider.Duration(f.cfg.Auth.Grace)
	}
	if f.cfg.Provider != nil {
		f.cfg.Provider(&d)
	}
	return d.WithDefaults()
}

// run runs a process until stop, at the latest until the test ends.
func (f *fleet) run(name string, process func(ctx context.Context, name string, nc *nats.Conn) error) {
	f.t.Helper()
	nc := f.connect()
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan error, 1)
	go func() { done <- process(ctx, name, nc) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
	})
	f.stops = append(f.stops, stop)
	f.t.Cleanup(stop)
}

func (f *fleet) worker(ctx context.Context, name string, nc *nats.Conn) error {
	dial := dialFunc(f.dial)
	if f.cfg.Dial != nil {
		dial = f.cfg.Dial(name, dial)
	}
	return app.RunWorker(ctx, app.WorkerConfig{
		Name: name, Conn: nc, Grant: f.grant, Access: f.access, StateDir: filepath.Join(f.dir, name), Dial: dial, OnResult: f.ended,
	})
}

func (f *fleet) ended(r refresh.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Attempt == "" {
		f.idle++
		return
	}
	f.attempts++
	f.classes[r.Class]++
}

// stop ends schedulers and workers in order, so that what happened can be counted.
func (f *fleet) stop() {
	for _, stop := range f.stops {
		stop()
	}
}

// enrol makes a grant at the authorization server, and the credential of it.
func (f *fleet) enrol(account string) events.Credential {
	f.t.Helper()
	now := time.Now()
	tokens, err := f.auth.Issue(account, "")
	f.must(err)
	c := events.Credential{Provider: "acme", Account: account}
	_, err = f.writer.Enroll(f.ctx, &f.acme, c, enroll.NewGrant{
		RefreshToken: seal.NewSecret(tokens.RefreshToken), AccessToken: seal.NewSecret(tokens.AccessToken),
		StartedAt: now, Lifetime: tokens.ExpiresAt.Sub(now),
	})
	f.must(err)
	return c
}

// all reads every record.
func (f *fleet) all(fn func(*refresh.Record)) {
	f.t.Helper()
	f.must(f.Records(f.ctx, "", func(s refresh.Stored, err error) error {
		if err == nil {
			fn(&s.Record)
		}
		return err
	}))
}

// lost is what the authorization server says of the refresh tokens in the records.
func (f *fleet) lost() []authserver.Loss {
	f.t.Helper()
	held := make(map[string]string)
	f.all(func(r *refresh.Record) {
		g, err := f.keys().OpenGrant(r)
		f.must(err)
		held[r.Account] = g.RefreshToken.Reveal()
	})
	return f.auth.Lost(held)
}

func withSubject(filter string) jetstream.StreamInfoOpt { return jetstream.WithSubjectFilter(filter) }
