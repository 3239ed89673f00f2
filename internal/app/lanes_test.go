package app_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// TestConcurrencyIsLive: what apply declares holds for the workers that are at work.
func TestConcurrencyIsLive(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		var busy atomic.Int32
		release := make(chan struct{})
		limited := func(n int) func(*provider.Definition) {
			return func(d *provider.Definition) { d.Limits.Concurrency = n }
		}
		f := newFleet(t, fleetConfig{Workers: 1, Provider: limited(2), Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				busy.Add(1)
				<-release
				busy.Add(-1)
				next.ServeHTTP(w, r)
			})
		}})
		free := sync.OnceFunc(func() { close(release) })
		defer free()
		atOnce := func(want int32) {
			t.Helper()
			time.Sleep(time.Second)
			if n := busy.Load(); n != want {
				t.Fatalf("%d calls at once, want %d: %s", n, want, f.logs.text())
			}
		}
		all := make([]events.Credential, 40)
		for i := range all {
			all[i] = f.enrol(fmt.Sprintf("user%d", i))
		}
		time.Sleep(10 * time.Minute) // a demand right after the last refresh has no effect
		for _, c := range all {
			f.must(f.PublishJob(f.ctx, c.Key(), refresh.Job{Reason: events.ReasonDemand, NewerThan: 1}, ""))
		}
		atOnce(2)
		f.apply(f.definition("acme", limited(16)))
		atOnce(16)
		f.apply(f.definition("acme", limited(3)))
		time.Sleep(time.Second)
		for range 16 {
			release <- struct{}{}
		}
		atOnce(3)
		free()
		time.Sleep(time.Minute)
		f.settle()
		if l := f.wantCleanLedger(); l.Rotations != 40 {
			t.Errorf("%d rotations, want 40", l.Rotations)
		}
	})
}

// TestWorkerForgetsAProviderThatVanished without a trace while nobody watched.
func TestWorkerForgetsAProviderThatVanished(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{Workers: 1})
	f.apply(f.definition("second", nil))
	waiting := func(name string) int {
		info, err := f.LaneInfo(f.ctx, name)
		if err != nil {
			return -1 // the server has just started
		}
		return info.Waiting
	}
	waitFor(t, "both lanes", func() bool { return waiting("acme") == 1 && waiting("second") == 1 })
	s, err := f.JetStream().Stream(f.ctx, f.Names().ProvidersStream())
	f.must(err)
	f.must(s.Purge(f.ctx, jetstream.WithPurgeSubject(f.Names().ProviderSubject("second"))))
	f.nats.Stop()
	f.must(f.nats.Start())
	waitFor(t, "the other lane alone", func() bool { return waiting("acme") == 1 && waiting("second") == 0 })
}

func TestMissingLaneIsSaidOnceAnHour(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{Workers: 1})
		time.Sleep(time.Minute)
		f.must(f.JetStream().DeleteConsumer(f.ctx, f.Names().JobsStream(), "acme"))
		time.Sleep(150 * time.Minute)
		if n := f.logs.count("w1", "run freshet apply"); n != 3 {
			t.Errorf("said %d times in two and a half hours:\n%s", n, f.logs.text())
		}
	})
}

// TestDenialsAreSaidOnceAnHour, with what is denied and what to do.
func TestDenialsAreSaidOnceAnHour(t *testing.T) {
	const lane, watch = "$JS.API.CONSUMER.MSG.NEXT.REFRESH_JOBS.acme", "$JS.API.CONSUMER.CREATE.KV_providers.>"
	for denied, want := range map[string]string{
		lane:  "no job of this lane is taken",
		watch: "the providers cannot be watched",
	} {
		t.Run(denied, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				f := newGuarded(t, natstest.Options{Users: []*server.User{
					{Username: "root", Password: "p"},
					{Username: "guest", Password: "p", Permissions: &server.Permissions{
						Publish: &server.SubjectPermission{Deny: []string{denied}},
					}},
				}})
				f.work("guest")
				time.Sleep(150 * time.Minute)
				if n := f.logs.count("", want); n != 3 || f.logs.count("", "permission denied for subject $JS.API.CONSUMER.") < 3 {
					t.Errorf("said %d times in two and a half hours:\n%s", n, f.logs.text())
				}
			})
		})
	}
}

// guarded is a NATS server with users and all assets, and a provider that nobody asks.
type guarded struct {
	t    *testing.T
	nats *natstest.Server
	keys app.KeysetFiles
	logs logBook
}

func newGuarded(t *testing.T, o natstest.Options) *guarded {
	t.Helper()
	g := &guarded{t: t, nats: natstest.Run(t, o)}
	var err error
	g.keys, err = app.GenerateKeysets(filepath.Join(t.TempDir(), "keys"))
	g.must(err)
	b, err := broker.New(g.connect("root"), broker.Config{})
	g.must(err)
	_, err = b.Setup(t.Context(), broker.SetupConfig{})
	g.must(err)
	grant, _, err := g.keys.Load()
	g.must(err)
	_, err = app.Apply(t.Context(), b, grant, provider.Definition{
		Name: "acme", TokenURL: "http://127.0.0.1:9/token", ClientID: "dev", AuthStyle: provider.AuthNone,
	}, false)
	g.must(err)
	return g
}

func (g *guarded) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *guarded) connect(user string) *nats.Conn {
	g.t.Helper()
	opts := append(app.ConnectOptions(zerolog.Nop()), nats.InProcessServer(g.nats), nats.UserInfo(user, "p"))
	nc, err := nats.Connect("", opts...)
	g.must(err)
	g.t.Cleanup(func() { natstest.Close(nc) })
	return nc
}

// work runs a worker as a user, until the test ends.
func (g *guarded) work(user string) {
	g.t.Helper()
	grant, access, err := g.keys.Load()
	g.must(err)
	cfg := app.WorkerConfig{
		Conn: g.connect(user), Grant: grant, Access: access, StateDir: g.t.TempDir(), Log: zerolog.New(&g.logs).Level(zerolog.InfoLevel),
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	done := make(chan error, 1)
	go func() { done <- app.RunWorker(ctx, cfg) }()
	g.t.Cleanup(func() {
		cancel()
		g.must(<-done)
	})
}
