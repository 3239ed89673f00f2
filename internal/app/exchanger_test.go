package app_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// exchangerOf is an exchanger of a fleet, on a socket of a short name: the system limits its length.
type exchangerOf struct {
	*fleet
	socket, state string
}

func newExchangerOf(f *fleet) *exchangerOf {
	f.t.Helper()
	dir, err := os.MkdirTemp("", "xch")
	f.must(err)
	f.t.Cleanup(func() { os.RemoveAll(dir) })
	return &exchangerOf{fleet: f, socket: filepath.Join(dir, "x.sock"), state: filepath.Join(dir, "state")}
}

func (x *exchangerOf) start() *process {
	x.t.Helper()
	return x.startProcess("x", func(ctx context.Context, _ *nats.Conn, log zerolog.Logger) error {
		return app.RunExchanger(ctx, app.ExchangerConfig{
			Listen: "unix://" + x.socket, StateDir: x.state, Grant: x.grant, Names: x.Names(), Log: log, Dial: x.dial,
		})
	})
}

func (x *exchangerOf) worker(name string) *process {
	return x.startWorkerWith(name, func(c *app.WorkerConfig) { c.Exchanger = "unix://" + x.socket })
}

// claim writes a claim into a record, as a worker that is about to present its grant.
func (x *exchangerOf) claim(c events.Credential) refresh.Request {
	x.t.Helper()
	s := x.record(c)
	g, err := x.keys().OpenGrant(&s.Record)
	x.must(err)
	id := refresh.NewAttemptID()
	s.Record.Claim = &refresh.Claim{Attempt: id, Worker: "dead", TTL: provider.Duration(x.acme.Timing().ClaimTTL), At: time.Now().UTC()}
	_, err = x.Put(x.ctx, refresh.Write{Record: s.Record, Revision: s.Revision})
	x.must(err)
	return refresh.Request{
		Ticket: refresh.Ticket{
			Attempt: id, Worker: "dead", Key: c.Key(), GrantID: s.Record.GrantID, Generation: s.Record.Generation,
			Version: s.Record.Version, Reason: events.ReasonScheduled,
		},
		Provider: &x.acme, ClientSecret: x.acme.ClientSecrets[0], RefreshToken: g.RefreshToken,
		Deadline: time.Now().Add(x.acme.Timing().Timeout),
	}
}

func TestAWorkerRefreshesThroughItsExchanger(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{Schedulers: 1})
	x := newExchangerOf(f)
	x.worker("w1")
	waitFor(t, "the word that there is no exchanger", func() bool { return f.logs.count("w1", "no attempt starts until the exchanger is there") == 1 })
	process := x.start()
	waitFor(t, "the exchanger", func() bool { return f.logs.count("w1", "exchanger reached") == 1 })
	c := f.enrol("alice")
	_, err := app.Demand(f.ctx, f.Broker, c, refresh.Job{Reason: events.ReasonDemand, NewerThan: 1})
	f.must(err)
	f.settle()
	process.stop()
	if f.logs.count("x", "exchanger stopped, nothing held") != 1 {
		t.Errorf("the exchanger was not told that the outcome is in the journal: %s", f.logs.text())
	}
	if l, s := f.wantCleanLedger(), f.record(c); l.Rotations != 1 || s.Record.Version != 2 {
		t.Errorf("%d rotations, version %d; want 1 and 2", l.Rotations, s.Record.Version)
	}
}

// TestADeadWorkersReplyIsCommitted: a worker claims, has its exchanger make the request, and is not heard of again. The next
// one finds the reply and commits it, although the provider is strict.
func TestADeadWorkersReplyIsCommitted(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	x := newExchangerOf(f)
	x.start()
	c := f.enrol("alice")
	dead := exchanger.NewClient(exchanger.ClientConfig{Socket: x.socket, Keys: f.keys()})
	if o := dead.Exchange(f.ctx, x.claim(c)); o.Phase != refresh.PhaseAnswered {
		t.Fatalf("the request ended as %s: %s", o.Phase, o.Err)
	}
	dead.Close()
	x.worker("w1")
	waitFor(t, "the commit", func() bool { return f.record(c).Record.Version == 2 })
	if s := f.record(c); s.Record.Claim != nil || s.Record.Doubt != nil || s.Record.State != refresh.StateActive {
		t.Errorf("the record is %s, claim %v, doubt %v", s.Record.State, s.Record.Claim, s.Record.Doubt)
	}
	f.settle()
	if l := f.wantCleanLedger(); l.Rotations != 1 {
		t.Errorf("%d rotations, want 1", l.Rotations)
	}
}
