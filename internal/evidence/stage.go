package evidence

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Programs are what a stage's processes are. BuildPrograms makes them.
type Programs struct {
	fleet.Binaries
	Reader string // the program that uses access tokens, see the package's directory reader
	// NATSConfig is the configuration that people are given: permissions, and an fsync for every write.
	NATSConfig string
}

// BuildPrograms builds everything into dir; flags go to go build, such as -tags freshet_faults. The working directory must
// be inside the module.
func BuildPrograms(ctx context.Context, dir string, flags ...string) (Programs, error) {
	b, err := fleet.Build(ctx, dir, flags...)
	if err != nil {
		return Programs{}, err
	}
	p := Programs{Binaries: b, Reader: filepath.Join(dir, "reader")}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", p.Reader, "github.com/freshetdev/freshet/internal/evidence/reader")
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build the reader: %w\n%s", err, out)
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/freshetdev/freshet").Output()
	if err != nil {
		return p, fmt.Errorf("find the module: %w", err)
	}
	p.NATSConfig = filepath.Join(strings.TrimSpace(string(root)), "deploy", "nats", "nats-server.conf")
	return p, nil
}

// withPrograms calls do with programs, those given or new ones.
func withPrograms(ctx context.Context, given Programs, do func(Programs) error) error {
	if given != (Programs{}) {
		return do(given)
	}
	dir, err := os.MkdirTemp("", "freshet-programs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := BuildPrograms(ctx, dir)
	if err != nil {
		return err
	}
	return do(p)
}

// stage is a fleet with all that an experiment has beside it.
type stage struct {
	*fleet.Fleet
	programs Programs
	dir      string
	heard    *witness
	env      []string // of the workers
	// exchanger makes the workers' requests go through the process "exchanger".
	exchanger bool
}

// play starts a stage, calls do, and ends everything. Directories are short: a Unix socket's path must be.
func play(ctx context.Context, p Programs, cfg fleet.Config, do func(*stage) error) (err error) {
	dir, err := os.MkdirTemp("", "freshet-ev-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg.Dir, cfg.Binaries, cfg.NATSConfig = dir, p.Binaries, p.NATSConfig
	f, err := fleet.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s := &stage{Fleet: f, programs: p, dir: dir}
	if s.heard, err = attend(f); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.heard.close()) }()
	return do(s)
}

// mistaken makes workers make a mistake; empty: none.
func (s *stage) mistaken(mistake string) {
	if mistake != "" {
		s.env = []string{"FRESHET_MISTAKE=" + mistake}
	}
}

func (s *stage) socket() string { return "unix://" + filepath.Join(s.dir, "exchanger.sock") }

// worker starts a worker; the same name again is the same host that came back.
func (s *stage) worker(name string) (*fleet.Process, error) {
	args := []string{
		"--name", name, "--state-dir", filepath.Join(s.dir, "state", name), "--log-level", "info",
		"--grant-keyset", s.Keysets.Grant, "--access-keyset", s.Keysets.Access, "--hands", "16",
	}
	if s.exchanger {
		args = append(args, "--exchanger", s.socket())
	}
	return s.Launch(s.NATS.As(fleet.RoleWorker, fleet.Command{Name: name, Path: s.programs.Worker, Args: args, Env: s.env}))
}

func (s *stage) schedulerProcess(name string) (*fleet.Process, error) {
	return s.Scheduler(name, "--log-level", "info")
}

// exchangerProcess starts the process that owns the token requests.
func (s *stage) exchangerProcess(name string) (*fleet.Process, error) {
	return s.Launch(fleet.Command{Name: name, Path: s.programs.Worker, Args: []string{
		"exchanger", "--listen", s.socket(), "--state-dir", filepath.Join(s.dir, "state", name), "--grant-keyset", s.Keysets.Grant,
	}})
}

// readerProcess starts a program that uses the access tokens of the first n accounts, some times a second.
func (s *stage) readerProcess(name string, n, perSecond int) (*fleet.Process, error) {
	return s.Launch(s.NATS.As(fleet.RoleReader, fleet.Command{Name: name, Path: s.programs.Reader, Args: []string{
		"--access-keyset", s.Keysets.Access, "--resource", s.AuthURL + "/resource", "--provider", fleet.Provider,
		"--accounts", strconv.Itoa(n), "--rate", strconv.Itoa(perSecond),
	}}))
}

// demand asks for newer tokens of all accounts, again and again, so many a second, until ctx ends.
func (s *stage) demand(ctx context.Context, perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	accounts := s.Accounts()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.ask(ctx, accounts[i%len(accounts)])
		}
	}
}

// reconnected waits until our own connection stands again after a death of nats-server.
func (s *stage) reconnected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flaggedWithin)
	defer cancel()
	for tick := time.Tick(10 * time.Millisecond); !s.Broker.Conn().IsConnected(); {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for nats-server: %w", ctx.Err())
		case <-tick:
		}
	}
	return nil
}

// ask queues one demand. It is not followed: what is queued already, or lost with NATS, is asked for next time.
func (s *stage) ask(ctx context.Context, account string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c := events.Credential{Provider: fleet.Provider, Account: account}
	_ = s.Broker.PublishJob(ctx, c.Key(), refresh.Job{Reason: events.ReasonDemand, NewerThan: s.heard.version(account)}, "")
}

// records reads every record.
func (s *stage) records(ctx context.Context, fn func(*refresh.Record)) error {
	return s.Broker.Records(ctx, fleet.Provider+".>", func(r refresh.Stored, err error) error {
		if err == nil {
			fn(&r.Record)
		}
		return err
	})
}

// issued is how many access tokens the authorization server has made of the account's grant; the record's version follows it.
func (s *stage) issued(account string) uint64 {
	return uint64(s.Auth.Account(account).Grants[0].AccessTokens)
}

// flaggedWithin is how long a loss may stay unsaid.
const flaggedWithin = 30 * time.Second

// settle waits until the records have all that the authorization server has issued, or what is missing has been said.
func (s *stage) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flaggedWithin)
	defer cancel()
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for last := 0; ; {
		open, err := s.open(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%d accounts are neither renewed nor flagged after %v", last, flaggedWithin)
		case err != nil:
			return err
		case open == 0, s.Auth.Ledger().Replayed > 0: // a replay is the end of a grant, and nobody waits for it
			return nil
		}
		last = open
		<-tick.C
	}
}

// catchUp waits until nothing is left of what is under way now: the records have all that the authorization server has
// issued, and other claims or none. An outcome may rest in a journal or with the exchanger for some seconds. It is for strict
// providers, where each version is issued once.
func (s *stage) catchUp(ctx context.Context) error {
	claims, issued := make(map[string]string), make(map[string]uint64)
	err := s.records(ctx, func(r *refresh.Record) {
		claims[r.Account], issued[r.Account] = claimOf(r), s.issued(r.Account)
	})
	if err != nil {
		return err
	}
	for tick := time.Tick(150 * time.Millisecond); ; {
		behind := make(map[string]bool)
		err := s.records(ctx, func(r *refresh.Record) { // one may come twice, the newer last
			claim := claimOf(r)
			behind[r.Account] = r.Version < issued[r.Account] || claim != "" && claim == claims[r.Account]
		})
		maps.DeleteFunc(behind, func(_ string, is bool) bool { return !is })
		if err == nil && len(behind) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d accounts lack what was under way: %w", len(behind), errors.Join(ctx.Err(), err))
		case <-tick:
		}
	}
}

// claimOf is the attempt that a record's claim names; empty: there is none.
func claimOf(r *refresh.Record) string {
	if r.Claim == nil {
		return ""
	}
	return r.Claim.Attempt
}

// open counts the accounts of which something is open, such as a token that the provider has issued and the record lacks,
// and of which nothing was said.
func (s *stage) open(ctx context.Context) (n int, err error) {
	_, flagged := s.heard.said()
	open := make(map[string]bool)
	err = s.records(ctx, func(r *refresh.Record) { // one may come twice, the newer last
		// Where refresh tokens may be used twice, the provider has issued more than was needed.
		missing := s.Definition.Rotation == provider.RotationStrict && s.issued(r.Account) > r.Version
		open[r.Account] = !flagged[r.Account] && (missing || r.Claim != nil || r.Doubt != nil)
	})
	for _, is := range open {
		if is {
			n++
		}
	}
	return n, err
}

// hearAll waits until the subscribers have heard of every version in the records, or for as long as that may take: a
// subscriber asks for what was lost on its way when it has heard nothing for some seconds.
func (s *stage) hearAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flaggedWithin)
	defer cancel()
	versions := make(map[string]uint64)
	if err := s.records(ctx, func(r *refresh.Record) { versions[r.Account] = r.Version }); err != nil {
		return err
	}
	sum := 0
	for _, v := range versions {
		sum += int(v)
	}
	for tick := time.Tick(50 * time.Millisecond); s.heard.updates() < sum || s.Heard().Events[events.TokenUpdated] < sum; {
		select {
		case <-ctx.Done():
			return nil // the verdict has the numbers
		case <-tick:
		}
	}
	return nil
}

// judged is the verdict when everybody has ended.
func (s *stage) judged(ctx context.Context) (fleet.Verdict, error) {
	if err := errors.Join(s.reconnected(ctx), s.hearAll(ctx)); err != nil {
		return fleet.Verdict{}, err
	}
	return s.Verdict(ctx)
}

// end stops processes as a service manager would and wants them to end well.
func (s *stage) end(ctx context.Context, processes ...*fleet.Process) error {
	var errs []error
	for _, p := range processes {
		code, err := p.Stop(ctx)
		if err == nil && code != 0 {
			err = fmt.Errorf("%s ended with exit code %d: %s", p.Name, code, p.Log.Tail(3))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// openBroker returns a broker that outlives every fault of the server.
func openBroker(f *fleet.Fleet, role string) (*broker.Broker, error) {
	nc, err := f.NATS.Connect(role, broker.ConnectOptions(broker.ConnectHooks{})...)
	if err != nil {
		return nil, fmt.Errorf("connect as %s: %w", role, err)
	}
	return broker.New(nc, broker.Config{})
}

// spreadOut makes the first access token of each account live half to all of a lifetime, so that a fleet does not begin
// with one wave.
func spreadOut(life time.Duration) func(account string, n int) time.Duration {
	return func(account string, n int) time.Duration {
		if n > 1 {
			return 0 // the usual
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(account)) // never fails
		return life/2 + life/2*time.Duration(h.Sum32()%1000)/1000
	}
}
