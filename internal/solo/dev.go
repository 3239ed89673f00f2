package solo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// DevConfig describes `freshet dev`.
type DevConfig struct {
	Credentials int           // how many to enrol
	Lifetime    time.Duration // of access tokens; the first ones are staggered below it
	Rotation    authserver.Rotation
	Port        int           // of NATS, on loopback; 0: a free one
	Seed        uint64        // of the authorization server; 0: random
	For         time.Duration // how long to run; 0: until ctx ends
	Out         io.Writer     // what people see
	Log         zerolog.Logger
}

// devProvider is what the local authorization server is called.
const devProvider = "demo"

// dev is a run of `freshet dev`.
type dev struct {
	cfg      DevConfig
	node     *node
	auth     *authserver.Server
	authURL  string
	accounts []string
	counts   counts
	printer  *printer
}

// Dev runs everything in this process until ctx or cfg.For ends, then compares the authorization server's ledger
// with our own count. It fails when they disagree, or when a refresh token was replayed, presented twice at once, or lost.
func Dev(ctx context.Context, cfg DevConfig) error {
	dir, err := os.MkdirTemp("", "freshet-dev-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	d := &dev{cfg: cfg}
	d.printer = newPrinter(cfg.Out)
	d.node, err = open(dir, embedded.Config{Port: cfg.Port, User: "freshet", Password: password()}, cfg.Log)
	if err != nil {
		return err
	}
	defer d.node.server.Shutdown()
	d.node.onResult, d.node.onPublished = d.result, d.counts.published
	stopAuth, err := d.startAuthServer()
	if err != nil {
		return err
	}
	defer stopAuth()
	return d.run(ctx)
}

// startAuthServer listens on a free loopback port.
func (d *dev) startAuthServer() (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start authorization server: %w", err)
	}
	d.authURL = "http://" + l.Addr().String()
	d.auth = authserver.New(authserver.Config{
		Issuer: d.authURL, Rotation: d.cfg.Rotation, AccessLifetime: d.cfg.Lifetime, Lifetime: d.firstLifetime, Seed: d.cfg.Seed,
	})
	srv := &http.Server{Handler: d.auth, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return func() { _ = srv.Close(); <-served }, nil
}

// firstLifetime staggers the first access tokens from a sixth of the lifetime to all of it, so that refreshes
// spread from the beginning.
func (d *dev) firstLifetime(account string, n int) time.Duration {
	if n > 1 {
		return 0
	}
	var i int
	_, _ = fmt.Sscanf(account, "user-%d", &i)
	shortest := max(d.cfg.Lifetime/6, time.Second)
	step := (d.cfg.Lifetime - shortest) / time.Duration(max(d.cfg.Credentials-1, 1))
	return shortest + time.Duration(max(i-1, 0))*step
}

func (d *dev) definition() provider.Definition {
	rotation := provider.Rotation(d.cfg.Rotation)
	def := provider.Definition{
		Name: devProvider, Issuer: d.authURL, AuthURL: d.authURL + "/authorize", TokenURL: d.authURL + "/token",
		RevokeURL: d.authURL + "/revoke", IntrospectURL: d.authURL + "/introspect",
		ClientID: "dev", ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
		Rotation: rotation,
	}
	if rotation == provider.RotationGrace {
		def.RotationGrace = provider.Duration(30 * time.Second)
	}
	return def.WithDefaults()
}

func (d *dev) run(ctx context.Context) error {
	def := d.definition()
	if err := d.node.prepare(ctx, []provider.Definition{def}); err != nil {
		return err
	}
	b, closeConn, err := d.node.connect()
	if err != nil {
		return err
	}
	defer closeConn()
	stopListening, err := d.listen(ctx, b)
	if err != nil {
		return err
	}
	defer stopListening()
	if err := d.enrol(ctx, b, def); err != nil {
		return err
	}
	stopProcesses, failed, err := d.startProcesses(ctx)
	if err != nil {
		return err
	}
	env, err := d.node.writeEnv()
	if err == nil {
		d.banner(env)
		d.printer.start()
		err = d.wait(ctx, failed)
	}
	if stopErr := stopProcesses(); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	return d.summary(b)
}

// wait lasts until the run is over, or a process of ours gave up.
func (d *dev) wait(ctx context.Context, failed <-chan struct{}) error {
	var over <-chan time.Time
	if d.cfg.For > 0 {
		t := time.NewTimer(d.cfg.For)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-ctx.Done():
	case <-over:
	case <-failed:
	}
	return nil
}

// startProcesses starts a scheduler and two workers. stop ends the scheduler first, so that no new work comes.
func (d *dev) startProcesses(ctx context.Context) (stop func() error, failed <-chan struct{}, err error) {
	base := context.WithoutCancel(ctx)
	schedCtx, stopScheduler := context.WithCancel(base)
	workCtx, stopWorkers := context.WithCancel(base)
	var schedulers, workers errgroup.Group
	stop = func() error {
		stopScheduler()
		err := schedulers.Wait()
		stopWorkers()
		if e := workers.Wait(); err == nil {
			err = e
		}
		return err
	}
	for _, name := range []string{"worker-1", "worker-2"} {
		if err := d.node.startWorker(workCtx, &workers, name); err != nil {
			return nil, nil, firstOf(err, stop())
		}
	}
	if err := d.node.startScheduler(schedCtx, &schedulers); err != nil {
		return nil, nil, firstOf(err, stop())
	}
	gone := make(chan struct{})
	go func() { _ = workers.Wait(); close(gone) }()
	return stop, gone, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// enrolAtOnce is how many logins run at the same time.
const enrolAtOnce = 16

// enrol takes every demo account through the real authorization code exchange; the program plays the user's browser.
func (d *dev) enrol(ctx context.Context, b *broker.Broker, def provider.Definition) error {
	receiver, err := enroll.NewReceiver()
	if err != nil {
		return err
	}
	defer receiver.Close()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	w := &enroll.Writer{Store: b, Teller: events.NewPublisher(b.JetStream(), b.Names()), Keys: d.node.keys(b), Source: "freshet/dev"}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(enrolAtOnce)
	for i := range d.cfg.Credentials {
		account := fmt.Sprintf("user-%0*d", len(fmt.Sprint(d.cfg.Credentials)), i+1)
		d.accounts = append(d.accounts, account)
		cred := events.Credential{Provider: devProvider, Account: account}
		g.Go(func() error {
			_, err := enroll.Login(ctx, enroll.LoginConfig{
				Definition: &def, Credential: cred, OpenBrowser: enroll.PlayBrowser(client), Receiver: receiver,
				Save: func(ctx context.Context, grant enroll.NewGrant) error {
					_, err := w.Enroll(ctx, &def, cred, grant)
					return err
				},
			})
			return err
		})
	}
	return g.Wait()
}
