package solo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/embedded"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// DevConfig describes `freshet dev`. Validate says what the fields may hold.
type DevConfig struct {
	Credentials int           // how many to enrol
	Lifetime    time.Duration // of access tokens; the first ones are staggered below it
	Rotation    authserver.Rotation
	Port        int           // of NATS, on loopback; 0: a free one
	AuthPort    int           // of the authorization server, likewise
	Seed        uint64        // of the authorization server; 0: random
	For         time.Duration // how long to run; 0: until ctx ends
	Out         io.Writer     // what people see
	Log         zerolog.Logger
	// Telemetry shows what it does. Optional.
	Telemetry *telemetry.Telemetry
}

const (
	// maxCredentials is what one process enrols in minutes.
	maxCredentials = 100_000
	// manyCredentials take so long that somebody may wonder.
	manyCredentials = 1000
	// minLifetime leaves a scheduler that looks once a second the time to be early.
	minLifetime = 2 * time.Second
)

// Validate reports everything that is wrong, by the names of the command's flags.
func (c DevConfig) Validate() error {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!slices.Contains(authserver.Rotations(), c.Rotation), "--rotation %q: want one of %v", c.Rotation, authserver.Rotations())
	fault(c.Credentials < 1 || c.Credentials > maxCredentials, "--credentials %d: want 1 to %d", c.Credentials, maxCredentials)
	fault(c.Lifetime < minLifetime, "--lifetime %s: want %s or more", c.Lifetime, minLifetime)
	fault(c.For < 0, "--for %s: want a time to run, or 0 to run until Ctrl-C", c.For)
	faults = append(faults, validPort("--nats-port", c.Port), validPort("--auth-port", c.AuthPort))
	return errors.Join(faults...)
}

func validPort(flag string, port int) error {
	if port < 0 || port > 65535 {
		return fmt.Errorf("%s %d: want 1 to 65535, or 0 for a free one", flag, port)
	}
	return nil
}

// devProvider is what the local authorization server is called.
const devProvider = "demo"

// dev is a run of `freshet dev`.
type dev struct {
	cfg       DevConfig
	node      *node
	auth      *authserver.Server
	authURL   string
	accounts  []string
	counts    *counts
	printer   *printer
	link      string    // connects an account in a browser
	dashboard string    // where it is
	over      time.Time // when it was told to end; what ends later is not missed
}

// ErrAuthPortTaken: something else listens on the authorization server's port.
var ErrAuthPortTaken = errors.New("port is taken")

// Dev runs everything in this process until ctx or cfg.For ends, then compares the authorization server's ledger
// with our own count. It fails with ErrBroken when they disagree, when a refresh token was replayed, presented twice
// at once, or lost, or when a token was not renewed in time. When ctx ends before everything runs there is nothing to compare,
// and no error. Other errors: embedded.ErrPortTaken, ErrAuthPortTaken.
func Dev(ctx context.Context, cfg DevConfig) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "freshet-dev-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	d := &dev{cfg: cfg, accounts: demoAccounts(cfg.Credentials), counts: newCounts()}
	d.printer = newPrinter(cfg.Out, Layout{NameWidth: len(devProvider) + 1 + len(d.accounts[0])})
	d.node, err = open(dir, embedded.Config{Port: cfg.Port, User: "freshet", Password: password()}, cfg.Log)
	if err != nil {
		return err
	}
	defer d.node.server.Shutdown()
	d.node.onResult, d.node.onPublished, d.node.telemetry = d.result, d.counts.published, cfg.Telemetry
	stopAuth, err := d.startAuthServer()
	if err != nil {
		return err
	}
	defer stopAuth()
	return cancelled(ctx, d.run(ctx))
}

// cancelled makes it no error that ctx ended in the middle of a start.
func cancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// startAuthServer listens on loopback.
func (d *dev) startAuthServer() (stop func(), err error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.cfg.AuthPort)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("start authorization server: %w: %w: stop what listens there, or give another --auth-port (0 picks a free one)", ErrAuthPortTaken, err)
	}
	if err != nil {
		return nil, fmt.Errorf("start authorization server: %w", err)
	}
	d.authURL = "http://" + l.Addr().String()
	first := firstLifetimes(d.accounts, d.cfg.Lifetime)
	d.auth = authserver.New(authserver.Config{
		Clients: []authserver.Client{{ID: "dev", Secret: "dev-secret", RedirectURIs: []string{
			"http://127.0.0.1" + provider.DefaultCallbackPath, "http://[::1]" + provider.DefaultCallbackPath, "http://127.0.0.1/connect/" + devProvider + "/callback",
		}}},
		Issuer: d.authURL, Rotation: d.cfg.Rotation, AccessLifetime: d.cfg.Lifetime, Seed: d.cfg.Seed,
		Lifetime: func(account string, n int) time.Duration {
			if n > 1 {
				return 0 // as configured
			}
			return first[account]
		},
	})
	srv := &http.Server{Handler: d.auth, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return func() { _ = srv.Close(); <-served }, nil
}

func (d *dev) definition() provider.Definition {
	rotation := provider.Rotation(d.cfg.Rotation)
	def := provider.Definition{
		Name: devProvider, Issuer: d.authURL, AuthURL: d.authURL + "/authorize", TokenURL: d.authURL + "/token",
		RevokeURL: d.authURL + "/revoke", IntrospectURL: d.authURL + "/introspect",
		DeviceURL: d.authURL + "/device_authorization",
		ClientID:  "dev", ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
		Rotation: rotation,
	}
	if rotation == provider.RotationGrace {
		def.RotationGrace = provider.Duration(30 * time.Second)
	}
	return def.WithDefaults()
}

func (d *dev) run(ctx context.Context) error {
	def := d.definition()
	if _, err := d.node.prepare(ctx, []provider.Definition{def}, true); err != nil {
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
	if d.cfg.Credentials >= manyCredentials {
		fmt.Fprintf(d.cfg.Out, "enrolling %d credentials ...\n", d.cfg.Credentials)
	}
	if err := d.enrol(ctx, b, def); err != nil {
		return err
	}
	stopWeb, err := d.startWeb(ctx, b)
	if err != nil {
		return err
	}
	defer stopWeb()
	if err := d.work(ctx); err != nil {
		return err
	}
	return d.summary(b)
}

// work runs the processes until the run is over.
func (d *dev) work(ctx context.Context) error {
	d.counts.begun = time.Now()
	p, err := d.startProcesses(ctx)
	if err != nil {
		return err
	}
	env, err := d.node.writeEnv()
	if err != nil {
		return errors.Join(err, p.stop())
	}
	d.banner(env)
	d.printer.start()
	d.wait(ctx, p)
	d.over = time.Now()
	return p.stop()
}

// wait lasts until the run is over, or a process of ours gave up.
func (d *dev) wait(ctx context.Context, p processes) {
	if d.cfg.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.cfg.For)
		defer cancel()
	}
	select {
	case <-ctx.Done():
	case <-p.noScheduler:
	case <-p.noWorkers:
	}
}

// processes are a scheduler and two workers at work.
type processes struct {
	// stop ends the scheduler, so that no new work comes, then the workers, and waits for all of them.
	stop func() error
	// These are closed when one of them fails: what is left of its kind ends as well.
	noScheduler, noWorkers <-chan struct{}
}

// startProcesses starts them. The end of ctx is not theirs: stop is.
func (d *dev) startProcesses(ctx context.Context) (processes, error) {
	base := context.WithoutCancel(ctx)
	schedCtx, stopScheduler := context.WithCancel(base)
	workCtx, stopWorkers := context.WithCancel(base)
	schedulers, schedCtx := errgroup.WithContext(schedCtx)
	workers, workCtx := errgroup.WithContext(workCtx)
	stop := func() error {
		stopScheduler()
		err := schedulers.Wait()
		stopWorkers()
		return errors.Join(err, workers.Wait())
	}
	for _, name := range []string{"worker-1", "worker-2"} {
		if err := d.node.startWorker(workCtx, workers, name); err != nil {
			return processes{}, errors.Join(err, stop())
		}
	}
	if err := d.node.startScheduler(schedCtx, schedulers); err != nil {
		return processes{}, errors.Join(err, stop())
	}
	return processes{stop: stop, noScheduler: schedCtx.Done(), noWorkers: workCtx.Done()}, nil
}
