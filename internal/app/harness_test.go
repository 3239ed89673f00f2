package app_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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

// fleetConfig says what a fleet is made of. The zero value works: NATS with all assets, the provider acme on a strict
// authorization server, and no process.
type fleetConfig struct {
	Auth authserver.Config
	// Provider changes the definition of acme before it is applied. nil: nothing.
	Provider func(*provider.Definition)
	// Wrap stands before the authorization server. nil: nothing does.
	Wrap func(http.Handler) http.Handler
	// Schedulers and Workers are how many of each are started: s1, s2, …, w1, w2, …
	Schedulers, Workers int
	// Hands of each worker on a lane; 0: the lane's concurrency.
	Hands int
	// EventsMaxAge is how long events are kept; 0: the default.
	EventsMaxAge time.Duration
}

// fleet is a NATS server, an authorization server, and the processes on them; all of it real, all of it in this process. It
// works in real time and in virtual time, and ends with its test.
type fleet struct {
	*broker.Broker // on the test's own connection
	t              *testing.T
	ctx            context.Context // outlives the test's, so that what is stopped at its end stops in order
	cfg            fleetConfig
	dir            string
	nats           *natstest.Server
	grant, access  *seal.Keyset
	auth           *authserver.Server
	network        *authserver.Pipe // to auth
	refusing       atomic.Bool      // the network refuses connections
	acme           provider.Definition
	writer         *enroll.Writer

	logs logBook

	schedulers, workers []*process

	mu        sync.Mutex
	results   []result
	published []published
	arrivals  []time.Time
}

// result is the end of a job, and when that was.
type result struct {
	refresh.Result
	At time.Time
}

// published is a job that a scheduler put on the queue.
type published struct {
	Scheduler, Key string
	Reason         events.Reason
	At             time.Time
}

// newFleet starts a fleet. The processes may be at work before it returns; enrolments come after.
func newFleet(t *testing.T, cfg fleetConfig) *fleet {
	t.Helper()
	f := &fleet{t: t, ctx: context.WithoutCancel(t.Context()), cfg: cfg, dir: t.TempDir()}
	f.nats = natstest.Run(t, natstest.Options{StoreDir: filepath.Join(f.dir, "nats")})
	keys, err := app.GenerateKeysets(filepath.Join(f.dir, "keys"))
	f.must(err)
	f.grant, f.access, err = keys.Load()
	f.must(err)
	f.Broker, err = broker.New(f.connect(zerolog.Nop()), broker.Config{})
	f.must(err)
	_, err = f.Setup(f.ctx, broker.SetupConfig{EventsMaxAge: cfg.EventsMaxAge})
	f.must(err)
	f.serveAuth()
	f.acme = f.definition("acme", cfg.Provider)
	f.apply(f.acme)
	f.writer = &enroll.Writer{Store: f, Teller: f.Publisher(), Keys: f.keys()}
	for i := range cfg.Workers {
		f.startWorker(fmt.Sprintf("w%d", i+1))
	}
	for i := range cfg.Schedulers {
		f.startScheduler(fmt.Sprintf("s%d", i+1))
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

// connect makes a connection as the processes have it.
func (f *fleet) connect(log zerolog.Logger) *nats.Conn {
	f.t.Helper()
	nc, err := nats.Connect("", append(app.ConnectOptions(log), nats.InProcessServer(f.nats))...)
	f.must(err)
	f.t.Cleanup(func() { natstest.Close(nc) })
	return nc
}

// serveAuth brings the authorization server onto its network.
func (f *fleet) serveAuth() {
	f.auth = authserver.New(f.cfg.Auth)
	f.network = authserver.NewPipe()
	var h http.Handler = f.auth
	if f.cfg.Wrap != nil {
		h = f.cfg.Wrap(h)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			f.mu.Lock()
			f.arrivals = append(f.arrivals, time.Now())
			f.mu.Unlock()
		}
		h.ServeHTTP(w, r)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(f.network) }()
	f.t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
}

// dial is the workers' way to the authorization server, whatever the address.
func (f *fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if f.refusing.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return f.network.Dial(ctx, network, addr)
}

// definition is a provider on the fleet's authorization server.
func (f *fleet) definition(name string, change func(*provider.Definition)) provider.Definition {
	const at = "http://127.0.0.1:9"
	d := provider.Definition{
		Name: name, AuthURL: at + "/authorize", TokenURL: at + "/token", RevokeURL: at + "/revoke", IntrospectURL: at + "/introspect",
		ClientID: "dev", ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
	}
	if change != nil {
		change(&d)
	}
	return d.WithDefaults()
}

// apply makes a provider known, with its lane.
func (f *fleet) apply(d provider.Definition) {
	f.t.Helper()
	_, err := app.Apply(f.ctx, f.Broker, f.grant, d, false)
	f.must(err)
}

// move applies a provider at another token URL, and says that this is right.
func (f *fleet) move(d provider.Definition) {
	f.t.Helper()
	f.must(app.MoveGrants(f.ctx, f.Broker, &d))
	f.apply(d)
}

// process is a scheduler or a worker at work.
type process struct {
	conn *nats.Conn
	stop func() // ends it and waits; fails the test if it did not end well
}

// startScheduler starts a scheduler on a connection of its own.
func (f *fleet) startScheduler(name string) *process {
	p := f.startProcess(name, func(ctx context.Context, nc *nats.Conn, log zerolog.Logger) error {
		return app.RunScheduler(ctx, app.SchedulerConfig{
			Name: name, Conn: nc, Log: log, OnPublished: func(key string, reason events.Reason) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.published = append(f.published, published{name, key, reason, time.Now()})
			},
		})
	})
	f.schedulers = append(f.schedulers, p)
	return p
}

// startWorker starts a worker on a connection and a state directory of its own.
func (f *fleet) startWorker(name string) *process {
	return f.startWorkerWith(name, func(*app.WorkerConfig) {})
}

// startWorkerWith starts a worker with something changed.
func (f *fleet) startWorkerWith(name string, change func(*app.WorkerConfig)) *process {
	p := f.startProcess(name, func(ctx context.Context, nc *nats.Conn, log zerolog.Logger) error {
		cfg := app.WorkerConfig{
			Name: name, Conn: nc, Grant: f.grant, Access: f.access, StateDir: f.stateDir(name), Hands: f.cfg.Hands,
			Log: log, Dial: f.dial, OnResult: f.heard,
		}
		change(&cfg)
		return app.RunWorker(ctx, cfg)
	})
	f.workers = append(f.workers, p)
	return p
}

// stateDir is where a worker keeps its journal.
func (f *fleet) stateDir(name string) string { return filepath.Join(f.dir, "state", name) }

func (f *fleet) heard(r refresh.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.results = append(f.results, result{r, time.Now()})
}

// startProcess runs something until it is stopped, at the latest when the test ends.
func (f *fleet) startProcess(name string, run func(context.Context, *nats.Conn, zerolog.Logger) error) *process {
	f.t.Helper()
	log := zerolog.New(&f.logs).Level(zerolog.DebugLevel).With().Str("process", name).Logger()
	p := &process{conn: f.connect(log)}
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan error, 1)
	go func() { done <- run(ctx, p.conn, log) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
		natstest.Close(p.conn)
	})
	f.t.Cleanup(p.stop)
	return p
}

// settle stops everything that is at work, so that what happened can be counted: schedulers first, so that no new work
// comes, then the workers, which finish theirs.
func (f *fleet) settle() {
	f.t.Helper()
	for _, p := range f.schedulers {
		p.stop()
	}
	for _, p := range f.workers {
		p.stop()
	}
}

// enrol makes a grant at the authorization server for an account of acme, and the credential of it.
func (f *fleet) enrol(account string) events.Credential {
	f.t.Helper()
	return f.enrolAt(f.acme, account)
}

// enrolAt is enrol at any provider on the fleet's authorization server.
func (f *fleet) enrolAt(d provider.Definition, account string) events.Credential {
	f.t.Helper()
	return f.enrolFrom(f.auth, d, account, func(*enroll.NewGrant) {})
}

// enrolFrom is enrol with a grant of any authorization server, and with something changed.
func (f *fleet) enrolFrom(from *authserver.Server, d provider.Definition, account string, change func(*enroll.NewGrant)) events.Credential {
	f.t.Helper()
	now := time.Now()
	tokens, err := from.Issue(account, "")
	f.must(err)
	g := enroll.NewGrant{
		RefreshToken: seal.NewSecret(tokens.RefreshToken), AccessToken: seal.NewSecret(tokens.AccessToken),
		StartedAt: now, Lifetime: tokens.ExpiresAt.Sub(now),
	}
	change(&g)
	c := events.Credential{Provider: d.Name, Account: account}
	_, err = f.writer.Enroll(f.ctx, &d, c, g)
	f.must(err)
	return c
}

// record reads a credential's record from the leader.
func (f *fleet) record(c events.Credential) refresh.Stored {
	f.t.Helper()
	s, err := f.Get(f.ctx, c)
	f.must(err)
	return s
}

// records reads all records, by key.
func (f *fleet) records() map[string]refresh.Stored {
	f.t.Helper()
	all := make(map[string]refresh.Stored)
	f.must(f.Records(f.ctx, "", func(s refresh.Stored, err error) error {
		all[s.Record.Credential().Key()] = s
		return err
	}))
	return all
}

// told returns the events in the stream, oldest first.
func (f *fleet) told() []events.Event {
	f.t.Helper()
	stream, err := f.JetStream().Stream(f.ctx, f.Names().EventsStream())
	f.must(err)
	info, err := stream.Info(f.ctx)
	f.must(err)
	var all []events.Event
	for seq := info.State.FirstSeq; seq != 0 && seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(f.ctx, seq)
		f.must(err)
		e, err := events.Decode(f.Names(), &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data})
		f.must(err)
		all = append(all, e)
	}
	return all
}

// toldOf returns the events of one type.
func (f *fleet) toldOf(t events.Type) []events.Event {
	f.t.Helper()
	return slices.DeleteFunc(f.told(), func(e events.Event) bool { return e.Type != t })
}

// ended returns the ends of jobs so far.
func (f *fleet) ended() []result {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.results)
}

// jobs returns what the schedulers published so far.
func (f *fleet) jobs() []published {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.published)
}

// asked returns when token requests came to the authorization server, oldest first.
func (f *fleet) asked() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.arrivals)
}

// wantCleanLedger fails the test when a refresh token was not treated as it must be.
func (f *fleet) wantCleanLedger() authserver.Ledger {
	f.t.Helper()
	l := f.auth.Ledger()
	if l.Replayed+l.LastTries+l.Concurrent+l.Revoked+l.Abandoned != 0 {
		f.t.Errorf("ledger: replayed %d, last tries %d, concurrent %d, revoked %d, abandoned %d, want none: %+v",
			l.Replayed, l.LastTries, l.Concurrent, l.Revoked, l.Abandoned, l.Anomalies)
	}
	if lost := f.auth.Lost(f.held()); len(lost) > 0 {
		f.t.Errorf("lost: %+v", lost)
	}
	return l
}

// held is the refresh token of each account, as the records have it.
func (f *fleet) held() map[string]string {
	f.t.Helper()
	held := make(map[string]string)
	for _, s := range f.records() {
		if s.Record.State.Withdrawn() {
			continue
		}
		g, err := f.keys().OpenGrant(&s.Record)
		f.must(err)
		held[s.Record.Account] = g.RefreshToken.Reveal()
	}
	return held
}

// waitFor waits for the moment at which right reports true, and fails the test when it does not come. In virtual time
// waiting costs nothing.
func waitFor(t *testing.T, what string, right func() bool) {
	t.Helper()
	const patience, pause = 30 * time.Second, 20 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for end := time.Now().Add(patience); !right(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for: %s", patience, what)
		}
	}
}
