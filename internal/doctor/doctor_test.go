package doctor_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/doctor"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// canary is in every secret.
const canary = "canary-of-a-secret"

// world is an installation to look at.
type world struct {
	t             *testing.T
	nc            *nats.Conn
	js            jetstream.JetStream
	b             *broker.Broker
	grant, access *seal.Keyset
	def           provider.Definition
}

func newWorld(t *testing.T, o natstest.Options) *world {
	t.Helper()
	s := natstest.Run(t, o)
	w := &world{t: t}
	var err error
	w.nc, err = nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(s))...)
	w.must(err)
	t.Cleanup(func() { natstest.Close(w.nc) })
	w.js, err = jetstream.New(w.nc)
	w.must(err)
	w.b, err = broker.New(w.nc, broker.Config{})
	w.must(err)
	files, err := app.GenerateKeysets(t.TempDir())
	w.must(err)
	w.grant, w.access, err = files.Load()
	w.must(err)
	w.def = provider.Definition{
		Name: "acme", AuthURL: "http://127.0.0.1:1/authorize", TokenURL: "http://127.0.0.1:1/token", ClientID: "dev",
		ClientSecrets: []seal.Secret{seal.NewSecret(canary)}, AuthStyle: provider.AuthBasic,
	}.WithDefaults()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// setUp makes what freshet setup and apply make.
func (w *world) setUp() {
	w.t.Helper()
	_, err := w.b.Setup(w.t.Context(), broker.SetupConfig{})
	w.must(err)
	_, err = app.Apply(w.t.Context(), w.b, w.grant, w.def, false)
	w.must(err)
}

// put writes a record that is healthy but for what change says.
func (w *world) put(account string, change func(*refresh.Record)) {
	w.t.Helper()
	now := time.Now()
	r := refresh.Record{
		V: refresh.SchemaVersion, Provider: "acme", Account: account, GrantID: refresh.NewGrantID(), Generation: 1, Version: 1,
		State: refresh.StateActive, IssuedAt: now, ExpiresAt: now.Add(time.Hour), RefreshAt: now.Add(time.Hour / 2),
	}
	keys := refresh.Keys{Bucket: events.Names{}.TokensBucket(), Grant: w.grant, Access: w.access}
	w.must(keys.Seal(&r, refresh.Grant{RefreshToken: seal.NewSecret(canary)}, seal.NewSecret(canary)))
	if change != nil {
		change(&r)
	}
	_, err := w.b.Put(w.t.Context(), refresh.Write{Record: r})
	w.must(err)
}

// examine returns the lines as "result name: found". None shows a secret, and each that is not ok says what to do.
func (w *world) examine(cfg doctor.Config) []string {
	w.t.Helper()
	var lines []string
	cfg.Broker = w.b
	w.must(doctor.Examine(w.t.Context(), cfg, func(c probe.Check) {
		lines = append(lines, fmt.Sprintf("%s %s: %s", c.Result, c.Name, c.Found))
		if (c.Result == probe.OK) != (c.Advice == "") || strings.Contains(c.Found+c.Advice, canary) {
			w.t.Errorf("a line of result %s: found %q, advice %q", c.Result, c.Found, c.Advice)
		}
	}))
	return lines
}

func TestWhatIsAmissIsSaid(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) func(*refresh.Record) {
		return func(r *refresh.Record) { r.RefreshAt = time.Now().Add(-d) }
	}
	state := func(s refresh.State) func(*refresh.Record) { return func(r *refresh.Record) { r.State = s } }
	for name, c := range map[string]struct {
		prepare func(*world)
		cfg     doctor.Config
		want    string // how a line begins
	}{
		"nothing is set up":         {nil, doctor.Config{}, "fail bucket tokens: it is missing"},
		"the pages' bucket":         {nil, doctor.Config{}, "warn bucket enrollments: it is missing"},
		"another setting":           {(*world).oddStream, doctor.Config{}, "warn stream TOKEN_EVENTS: it is not as declared: duplicate window is 1m0s"},
		"acknowledged, not written": {(*world).volatileStream, doctor.Config{}, "fail bucket tokens: it acknowledges before"},
		"no scheduler":              {(*world).setUp, doctor.Config{}, "warn scheduler: nobody watches"},
		"no provider":               {(*world).setUpAlone, doctor.Config{}, "warn providers: there are none"},
		"a provider in pieces":      {(*world).badProvider, doctor.Config{}, "fail provider acme: its definition cannot be read"},
		"another keyset":            {(*world).otherKeyset, doctor.Config{}, "fail provider acme: its secrets do not open"},
		"no keyset":                 {(*world).withoutKeysets, doctor.Config{}, "warn provider acme: its client was not tried"},
		"an endpoint that is away":  {(*world).setUp, doctor.Config{}, "fail provider acme token_url: 127.0.0.1:1"},
		"no lane":                   {(*world).withoutLane, doctor.Config{}, "fail lane acme: it is missing"},
		"nobody at the lane":        {(*world).setUp, doctor.Config{}, "warn lane acme: no worker waits"},
		"jobs that nobody takes":    {(*world).withJob, doctor.Config{}, "fail lane acme: no worker takes its jobs; 1 queued"},
		"a lane that rests":         {(*world).withPause, doctor.Config{}, `warn lane acme: paused by operator:test ("maintenance")`},
		"due for two minutes":       {with(ago(2 * time.Minute)), doctor.Config{}, "warn due: 1 are due, acme.alice for 2m"},
		"due for an hour":           {with(ago(time.Hour)), doctor.Config{}, "fail due: 1 are due"},
		"an ended token":            {with(func(r *refresh.Record) { r.ExpiresAt = time.Now().Add(-time.Second) }), doctor.Config{}, "warn expired: 1 "},
		"an uncertain one":          {with(state(refresh.StateUncertain)), doctor.Config{}, "warn uncertain: "},
		"somebody must log in":      {with(state(refresh.StateReauthRequired)), doctor.Config{}, "warn people: 1 "},
		"no headers":                {(*world).withoutHeaders, doctor.Config{}, "warn headers: 1 records have no readable headers: acme.alice"},
		"no keysets to open with":   {(*world).withoutKeysets, doctor.Config{Keys: true}, "warn keys: no keyset"},
		"one keyset to open with":   {(*world).withoutAccess, doctor.Config{Keys: true}, "warn access keyset: not given"},
		"records of another keyset": {(*world).withOtherAccess, doctor.Config{Keys: true}, "fail access keyset: 1 of 1 records do not open (1 need another key, 0 are damaged): acme/alice"},
		"a damaged record":          {with(func(r *refresh.Record) { r.Grant[len(r.Grant)-1] ^= 1 }), doctor.Config{Keys: true}, "fail grant keyset: 1 of 1 records do not open (0 need another key, 1 are damaged): acme/alice"},
		"a sync policy untold":      {nil, doctor.Config{}, "warn sync policy: unknown"},
		"no monitoring port":        {nil, doctor.Config{Monitors: []string{"http://127.0.0.1:1"}}, "warn sync policy: ask monitoring port"},
		"no address":                {nil, doctor.Config{Monitors: []string{"\x7f"}}, "warn sync policy: --monitor is no address"},
		"no state":                  {nil, doctor.Config{StateDirs: []string{"/nonexistent"}}, "fail journal /nonexistent: no worker"},
		"a role that is none":       {nil, doctor.Config{Role: "king"}, "fail role king: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, natstest.Options{})
			if c.prepare != nil {
				c.prepare(w)
			}
			c.cfg.Grant, c.cfg.Access = w.grant, w.access
			if got := w.examine(c.cfg); !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, c.want) }) {
				t.Errorf("got\n%s\nwant a line %s…", strings.Join(got, "\n"), c.want)
			}
		})
	}
}

func with(change func(*refresh.Record)) func(*world) {
	return func(w *world) {
		w.setUp()
		w.put("alice", change)
	}
}

func (w *world) setUpAlone() {
	_, err := w.b.Setup(w.t.Context(), broker.SetupConfig{})
	w.must(err)
}

func (w *world) oddStream() {
	_, err := w.js.CreateStream(w.t.Context(), jetstream.StreamConfig{Name: "TOKEN_EVENTS", Subjects: events.Names{}.EventsSubjects(), Duplicates: time.Minute})
	w.must(err)
	w.setUpAlone()
}

func (w *world) volatileStream() {
	_, err := w.js.CreateStream(w.t.Context(), jetstream.StreamConfig{Name: "KV_tokens", Subjects: []string{"$KV.tokens.>"}, PersistMode: jetstream.AsyncPersistMode})
	w.must(err)
	w.setUpAlone()
}

func (w *world) badProvider() {
	w.setUp()
	_, err := w.js.Publish(w.t.Context(), "$KV.providers.acme", []byte("no definition"))
	w.must(err)
}

func (w *world) otherKeyset() {
	w.setUp()
	other := newWorld(w.t, natstest.Options{})
	w.grant = other.grant
}

func (w *world) withoutKeysets() {
	w.setUp()
	w.grant, w.access = nil, nil
}

func (w *world) withoutAccess() {
	w.setUp()
	w.access = nil
}

func (w *world) withOtherAccess() {
	with(nil)(w)
	w.access = newWorld(w.t, natstest.Options{}).access
}

func (w *world) withoutLane() {
	w.setUp()
	w.must(w.js.DeleteConsumer(w.t.Context(), "REFRESH_JOBS", "acme"))
}

func (w *world) withJob() {
	w.setUp()
	w.must(w.b.PublishJob(w.t.Context(), "acme.alice", refresh.Job{Reason: events.ReasonDemand}, ""))
}

func (w *world) withPause() {
	w.setUp()
	_, err := w.b.PauseLane(w.t.Context(), "acme", provider.Pause{By: "operator:test", Reason: "maintenance"})
	w.must(err)
	w.put("alice", func(r *refresh.Record) { r.RefreshAt = time.Now().Add(-time.Hour) }) // the pause is why
}

func (w *world) withoutHeaders() {
	with(nil)(w)
	s, err := w.b.Get(w.t.Context(), events.Credential{Provider: "acme", Account: "alice"})
	w.must(err)
	data, err := s.Record.Encode()
	w.must(err)
	_, err = w.js.Publish(w.t.Context(), "$KV.tokens.acme.alice", data)
	w.must(err)
}

func TestAWellInstallationHasOnlyGoodToSay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, natstest.Options{})
	auth := authserver.New(authserver.Config{})
	srv := httptest.NewServer(auth)
	defer srv.Close()
	w.def.AuthURL, w.def.TokenURL, w.def.ClientSecrets = srv.URL+"/authorize", srv.URL+"/token", []seal.Secret{seal.NewSecret("dev-secret")}
	w.setUp()
	monitor := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, `{"server_name":"n1","jetstream":{"config":{"sync_always":true}}}`)
	}))
	defer monitor.Close()
	state := w.runFleet(auth)
	got := w.examine(doctor.Config{Grant: w.grant, Access: w.access, Keys: true, Monitors: []string{monitor.URL + "/"}, StateDirs: []string{state}})
	if len(got) < 15 {
		t.Errorf("so little is said:\n%s", strings.Join(got, "\n"))
	}
	for _, line := range got {
		if !strings.HasPrefix(line, "ok ") {
			t.Error(line)
		}
	}
}

// runFleet runs a scheduler and a worker until they have renewed a token, and to the end of the test.
func (w *world) runFleet(auth *authserver.Server) (stateDir string) {
	w.t.Helper()
	stateDir = filepath.Join(w.t.TempDir(), "state")
	issued, err := auth.Issue("alice", "")
	w.must(err)
	writer := enroll.Writer{Store: w.b, Teller: w.b.Publisher(), Keys: refresh.Keys{Bucket: "tokens", Grant: w.grant, Access: w.access}, Source: "freshet/test"}
	_, err = writer.Enroll(w.t.Context(), &w.def, events.Credential{Provider: "acme", Account: "alice"}, enroll.NewGrant{
		RefreshToken: seal.NewSecret(issued.RefreshToken), AccessToken: seal.NewSecret(issued.AccessToken), ExpiresAt: time.Now().Add(-time.Hour),
	})
	w.must(err)
	renewed := make(chan struct{}, 1)
	w.run(func(ctx context.Context) error {
		return app.RunScheduler(ctx, app.SchedulerConfig{Conn: w.nc, Log: zerolog.Nop()})
	})
	w.run(func(ctx context.Context) error {
		return app.RunWorker(ctx, app.WorkerConfig{Conn: w.nc, Grant: w.grant, Access: w.access, StateDir: stateDir, Log: zerolog.Nop(),
			OnResult: func(r refresh.Result) {
				if r.Class == refresh.ClassOK {
					renewed <- struct{}{}
				}
			}})
	})
	select {
	case <-renewed:
	case <-time.After(time.Minute):
		w.t.Fatal("nothing was renewed")
	}
	return stateDir
}

func (w *world) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// A dashboard watches as a scheduler does: the line does not say that there is one.
func TestAWatcherNeedNotBeAScheduler(t *testing.T) {
	t.Parallel()
	w := newWorld(t, natstest.Options{})
	w.setUp()
	caughtUp := make(chan struct{})
	w.run(func(ctx context.Context) error {
		return w.b.WatchRecords(ctx, broker.WatchConfig{}, func(broker.Seen) {}, func() { close(caughtUp) })
	})
	select {
	case <-caughtUp:
	case <-time.After(time.Minute):
		t.Fatal("the watch does not begin")
	}
	got := w.examine(doctor.Config{})
	if !slices.ContainsFunc(got, func(line string) bool {
		return strings.HasPrefix(line, "ok scheduler: somebody watches the records, a scheduler or a dashboard")
	}) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestMonitorsTellTheSyncPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, natstest.Options{MaxPayload: 64 << 10})
	for body, want := range map[string]string{
		`{"server_name":"n1","jetstream":{"config":{"sync_interval":120000000000}}}`: "warn sync policy: n1 syncs every 2m0s",
		`{"server_name":"n1","jetstream":{}}`:                                        "ok sync policy: n1 keeps nothing",
		"<html>":                                                                     "warn sync policy: ask monitoring port",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, body) }))
		got := w.examine(doctor.Config{Monitors: []string{srv.URL}})
		srv.Close()
		for _, begins := range []string{want, "warn payload: messages have 65536 bytes"} {
			if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, begins) }) {
				t.Errorf("got\n%s\nwant a line %s…", strings.Join(got, "\n"), begins)
			}
		}
	}
}
