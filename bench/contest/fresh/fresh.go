// Package fresh is Freshet itself, with the programs as they are shipped: freshet-worker and nats-server as processes, or
// everything embedded in one; with the exchange in the worker or in freshet-worker exchanger.
//
// The scheduler is left out: the jobs are published by the harness, as a scheduler publishes them, while the lane's consumer
// is paused. Go ends the pause.
package fresh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/bench/authd"
	"github.com/freshetdev/freshet/bench/contest"
	"github.com/freshetdev/freshet/bench/host"
	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Provider is what the authorization server is called.
const Provider = "acme"

// None as a number of workers starts none.
const None = -1

// Variant is what may differ.
type Variant struct {
	Name      string
	Rotation  provider.Rotation // of the endpoint; empty: strict
	SyncAll   bool              // nats-server syncs every write
	Exchanger bool
	Embedded  bool
	Nodes     int               // of nats-server; more than one: a cluster, and every asset on three of them
	Workers   int               // 0: one; None: none
	Lanes     int               // providers that the accounts are spread over; 0: one
	Flags     []string          // further flags of the workers
	Timeout   provider.Duration // of a token request; 0: the default
	Profile   string            // file for a CPU profile; with Embedded only
}

// Fresh is the contestant.
type Fresh struct {
	Broker     *broker.Broker
	Definition provider.Definition // of the first lane
	NATS       *fleet.NATS         // nil where it is embedded
	// Most bounds how many credentials Fill makes due; 0: all.
	Most int

	variant       Variant
	env           contest.Env
	keysets       app.KeysetFiles
	grant, access *seal.Keyset
	url           string
	subscriber    *nats.Conn
	workers       []*host.Process
	exchanger     *host.Process
	closers       []func() error

	lanes []string // names of the providers
	last  []string // the accounts whose jobs Go publishes

	mu       sync.Mutex
	versions map[string]uint64 // as heard, by account
	grants   map[string]grant  // by account
}

// grant is what a job must name.
type grant struct {
	lane, id string
}

var _ contest.Contestant = (*Fresh)(nil)

// Start starts servers and workers, and applies the provider.
func Start(ctx context.Context, env contest.Env, v Variant) (*Fresh, error) {
	f := &Fresh{variant: v, env: env, versions: make(map[string]uint64), grants: make(map[string]grant)}
	f.Definition = provider.Definition{
		Name: Provider, AuthURL: env.Auth.Tokens[env.Endpoint] + "/authorize", TokenURL: env.Auth.TokenURL(env.Endpoint),
		ClientID: authd.ClientID, ClientSecrets: []seal.Secret{seal.NewSecret(authd.ClientSecret)}, AuthStyle: provider.AuthBasic,
		Rotation: v.Rotation, Limits: provider.Limits{Concurrency: env.AtOnce, Timeout: v.Timeout},
	}.WithDefaults()
	for _, step := range []func(context.Context) error{f.makeKeysets, f.startNATS, f.setUp, f.startExchanger, f.startWorkers} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w", v.Name, err), f.Close())
		}
	}
	return f, nil
}

// Info implements contest.Contestant.
func (f *Fresh) Info() contest.Info {
	i := contest.Info{
		Name: f.variant.Name, Durability: "write before ack, fsync every 2 min",
		Promise: "claim by compare-and-set, journal, durable event",
	}
	if f.variant.SyncAll {
		i.Durability = "fsync on every write"
	}
	if f.variant.Nodes > 1 {
		i.Durability += fmt.Sprintf(", on 3 of %d servers", f.variant.Nodes)
	}
	if f.variant.Exchanger {
		i.Promise += ", answers outlive the worker"
	}
	return i
}

func (f *Fresh) makeKeysets(context.Context) (err error) {
	if f.keysets, err = app.GenerateKeysets(filepath.Join(f.env.Dir, "keys")); err != nil {
		return err
	}
	f.grant, f.access, err = f.keysets.Load()
	return err
}

func (f *Fresh) startNATS(ctx context.Context) (err error) {
	switch {
	case f.variant.Embedded:
		return nil // in the worker
	case f.variant.Nodes > 1:
		return f.startCluster(ctx)
	}
	cfg := fleet.NATSConfig{Binary: f.env.Programs.NATSServer, Dir: f.env.Dir}
	if f.variant.SyncAll {
		cfg.ConfigFile = filepath.Join(f.env.Dir, "nats.conf")
		if err := os.WriteFile(cfg.ConfigFile, []byte("jetstream { sync_interval: always }\n"), 0o600); err != nil {
			return err
		}
	}
	if f.NATS, err = fleet.StartNATS(ctx, cfg); err != nil {
		return err
	}
	f.closers = append(f.closers, f.NATS.Kill)
	f.url = f.NATS.URL()
	return nil
}

func (f *Fresh) startCluster(ctx context.Context) error {
	c, err := fleet.StartCluster(ctx, fleet.NATSConfig{Binary: f.env.Programs.NATSServer, Dir: f.env.Dir}, f.variant.Nodes)
	if err != nil {
		return err
	}
	f.closers = append(f.closers, c.Close)
	f.NATS, f.url = c.Nodes[0], c.Nodes[0].URLs()
	return nil
}

// setUp connects, makes the assets and applies the provider. With everything embedded the worker's process is started first.
func (f *Fresh) setUp(ctx context.Context) error {
	if f.variant.Embedded {
		if err := f.startEmbedded(ctx); err != nil {
			return err
		}
	}
	nc, err := nats.Connect(f.url, broker.ConnectOptions(broker.ConnectHooks{})...)
	if err != nil {
		return err
	}
	f.closers = append(f.closers, func() error { nc.Close(); return nil })
	if f.Broker, err = broker.New(nc, broker.Config{}); err != nil {
		return err
	}
	if err := f.setUpAssets(ctx); err != nil {
		return err
	}
	for i := range max(1, f.variant.Lanes) {
		if err := f.Apply(ctx, f.lane(i)); err != nil {
			return err
		}
	}
	return nil
}

// lane is the i-th provider: the same authorization server under another name.
func (f *Fresh) lane(i int) provider.Definition {
	d := f.Definition
	if i > 0 {
		d.Name = fmt.Sprintf("%s-%d", Provider, i)
	}
	return d
}

// setUpAssets tries until the nodes of a cluster have found each other.
func (f *Fresh) setUpAssets(ctx context.Context) error {
	replicas := 1
	if f.variant.Nodes > 1 {
		replicas = 3
	}
	for tick := time.Tick(100 * time.Millisecond); ; {
		_, err := f.Broker.Setup(ctx, broker.SetupConfig{Replicas: replicas})
		if err == nil || replicas == 1 {
			return err
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// Apply applies a provider, whose lane is Fill's, Go's and Halt's as well.
func (f *Fresh) Apply(ctx context.Context, d provider.Definition) error {
	f.lanes = append(f.lanes, d.Name)
	_, err := app.Apply(ctx, f.Broker, f.grant, d, false)
	return err
}

// subscribe begins to hear of renewals, on a connection of its own. It is done anew after each Load, so that enrolments are
// not among them.
func (f *Fresh) subscribe() error {
	if f.subscriber != nil {
		f.subscriber.Close()
	}
	nc, err := nats.Connect(f.url)
	if err != nil {
		return err
	}
	f.subscriber = nc
	const prefix = "token.updated."
	sub, err := nc.Subscribe(prefix+">", func(m *nats.Msg) {
		_, account, _ := strings.Cut(m.Subject[len(prefix):], ".")
		f.heard(account, version(m.Data))
	})
	if err != nil {
		return err
	}
	return errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush())
}

// version reads the member of an event's body. Decoding all of it would cost the harness more than what it measures.
func version(body []byte) (v uint64) {
	const name = `"version":`
	i := bytes.Index(body, []byte(name))
	if i < 0 {
		return 0
	}
	for _, c := range body[i+len(name):] {
		if c < '0' || c > '9' {
			break
		}
		v = 10*v + uint64(c-'0')
	}
	return v
}

// heard notes a version, once however often it is told. The harness's accounts are plain, so that a subject has them as they are.
func (f *Fresh) heard(account string, v uint64) {
	f.mu.Lock()
	known := v <= f.versions[account]
	if !known {
		f.versions[account] = v
	}
	f.mu.Unlock()
	if !known {
		f.env.Heard(account)
	}
}

// job asks for a newer token than there is, whenever that was made, as a policy's cron does.
func (f *Fresh) job(account string) (key string, j refresh.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.grants[account]
	j = refresh.Job{Reason: events.ReasonCron, GrantID: g.id, NewerThan: f.versions[account], IssuedAfter: f.Broker.Now()}
	return g.lane + "." + account, j
}

// due chooses the accounts of a round, and of each lane one for Go: nats-server looks at a consumer that runs again only when
// a message comes, or at the next heartbeat, seconds later.
func (f *Fresh) due() (accounts, last []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, n := make(map[string]bool), 0
	for account, g := range f.grants {
		if n++; f.Most > 0 && n > f.Most {
			break
		}
		if seen[g.lane] {
			accounts = append(accounts, account)
			continue
		}
		seen[g.lane] = true
		last = append(last, account)
	}
	return accounts, last
}

// Fill pauses the lanes and publishes a job for each credential, but for those that Go publishes.
func (f *Fresh) Fill(ctx context.Context) error {
	if err := f.Halt(ctx); err != nil {
		return err
	}
	if err := f.settle(ctx); err != nil {
		return err
	}
	var accounts []string
	accounts, f.last = f.due()
	var futures []jetstream.PubAckFuture
	for _, a := range accounts {
		key, job := f.job(a)
		future, err := f.Broker.JetStream().PublishAsync(f.Broker.Names().JobKeySubject(key), job.Encode(), jetstream.WithStallWait(time.Minute))
		if err != nil {
			return err
		}
		futures = append(futures, future)
	}
	for _, future := range futures {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			if !queued(err) {
				return fmt.Errorf("publish a job: %w", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// settleWithin is how long the last acks of a round may take. What a dead worker held takes longer, and nobody waits for it.
const settleWithin = 2 * time.Second

// settle waits until the queue is empty: an event is told before its job is acknowledged, and until the job is gone, on each
// replica, the queue takes no other one for the credential.
func (f *Fresh) settle(ctx context.Context) error {
	stream, err := f.Broker.JetStream().Stream(ctx, f.Broker.Names().JobsStream())
	if err != nil {
		return err
	}
	end := time.Now().Add(settleWithin)
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		info, err := stream.Info(ctx)
		if err != nil || info.State.Msgs == 0 || time.Now().After(end) {
			return err
		}
	}
}

// queued reports whether a job for the credential is there already.
func queued(err error) bool {
	const maxMsgsPerSubject = 10077
	var e *jetstream.APIError
	return errors.As(err, &e) && e.ErrorCode == maxMsgsPerSubject
}

// Go ends the pauses, and publishes the last jobs.
func (f *Fresh) Go(ctx context.Context) error {
	js, stream := f.Broker.JetStream(), f.Broker.Names().JobsStream()
	err := each(ctx, f.lanes, func(ctx context.Context, lane string) error {
		_, err := js.ResumeConsumer(ctx, stream, lane)
		return err
	})
	if err != nil {
		return err
	}
	last := f.last
	f.last = nil
	return each(ctx, last, func(ctx context.Context, account string) error {
		if err := f.Publish(ctx, account); !errors.Is(err, broker.ErrQueued) {
			return err
		}
		return nil
	})
}

// Halt pauses the lanes' consumers.
func (f *Fresh) Halt(ctx context.Context) error {
	js, stream := f.Broker.JetStream(), f.Broker.Names().JobsStream()
	return each(ctx, f.lanes, func(ctx context.Context, lane string) error {
		_, err := js.PauseConsumer(ctx, stream, lane, time.Now().Add(24*time.Hour))
		return err
	})
}

// each calls do for each of them, many at once.
func each(ctx context.Context, names []string, do func(context.Context, string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(storedAtOnce)
	for _, name := range names {
		g.Go(func() error { return do(ctx, name) })
	}
	return g.Wait()
}

// Publish publishes one job.
func (f *Fresh) Publish(ctx context.Context, account string) error {
	key, job := f.job(account)
	return f.Broker.PublishJob(ctx, key, job, "")
}

// Held opens every record.
func (f *Fresh) Held(ctx context.Context) (map[string]string, error) {
	held := make(map[string]string)
	err := f.Broker.Records(ctx, "", func(s refresh.Stored, err error) error {
		if err != nil {
			return err
		}
		g, err := f.keys().OpenGrant(&s.Record)
		held[s.Record.Account] = g.RefreshToken.Reveal()
		return err
	})
	return held, err
}

// Flagged returns the accounts whose record says that an attempt's outcome is not known: whoever looks, knows.
func (f *Fresh) Flagged(ctx context.Context) (map[string]bool, error) {
	flagged := make(map[string]bool)
	err := f.Broker.Records(ctx, "", func(s refresh.Stored, err error) error {
		r := &s.Record
		if err == nil && (r.Claim != nil || r.Doubt != nil || r.State != refresh.StateActive) {
			flagged[r.Account] = true
		}
		return err
	})
	return flagged, err
}

// Close ends everything.
func (f *Fresh) Close() error {
	if f.subscriber != nil {
		f.subscriber.Close()
	}
	errs := []error{f.finishProfile(), f.exchanger.Kill()}
	for _, w := range f.workers {
		errs = append(errs, w.Kill())
	}
	for i := len(f.closers) - 1; i >= 0; i-- {
		errs = append(errs, f.closers[i]())
	}
	f.closers = nil
	return errors.Join(errs...)
}
