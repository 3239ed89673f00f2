package deploy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/backup"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/dashboard"
	"github.com/freshetdev/freshet/internal/doctor"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

func TestEveryRoleDoesItsWorkAndNothingIsDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator := w.broker("operator")
	w.setUp(operator)
	live, durable := w.subscribe()
	w.startScheduler()
	w.startWorker()
	reader := w.openReader()

	alice, bob := w.login("alice"), w.importExpired("bob")
	for _, b := range []*book{live, durable} {
		b.await(t, "the login", isAbout(events.TokenUpdated, alice, 1))
		b.await(t, "the import's refresh", isAbout(events.TokenUpdated, bob, 2))
	}
	w.wantToken(reader, alice, 1)
	w.wantToken(reader, bob, 2)
	w.renew(reader, bob)

	w.wayToAProviderAndBack()
	w.throttle(operator, bob)
	for _, b := range []*book{live, durable} {
		b.await(t, "the failure", isAbout(events.TokenRefreshFailed, bob, 3))
		b.await(t, "the pause", isType(events.ProviderPaused))
		b.await(t, "its end", isType(events.ProviderResumed))
	}

	w.operate(operator, alice)
	w.examine(operator)
	w.keepAndRestore(operator)
	w.revoke("operator", w.importExpired("dave"))
	w.remove("operator", alice)
	w.remove("enroller", bob)
	for _, b := range []*book{live, durable} {
		b.await(t, "the removal", isAbout(events.TokenDeleted, alice, 2))
	}
	w.replay("operator")
	w.replay("subscriber")
	if got := w.denials.all(); len(got) > 0 {
		t.Errorf("denied:\n%s", strings.Join(got, "\n"))
	}
}

// setUp makes the assets and the provider, and does it again, with a change.
func (w *world) setUp(b *broker.Broker) {
	w.t.Helper()
	ctx := w.t.Context()
	w.must(b.CheckServer())
	for _, want := range []broker.Action{broker.ActionCreate, broker.ActionOK} {
		changes, err := b.Setup(ctx, broker.SetupConfig{})
		w.must(err)
		for _, c := range changes {
			if c.Action != want {
				w.t.Errorf("setup: %s %s: %s, want %s", c.Kind, c.Name, c.Action, want)
			}
		}
	}
	d := w.acme()
	for _, want := range []broker.Action{broker.ActionCreate, broker.ActionUpdate} {
		a, err := app.Apply(ctx, b, w.grant, d, false)
		w.must(err)
		if a.Action != want || a.Lane.Action != want {
			w.t.Errorf("apply: provider %s, lane %s, want %s", a.Action, a.Lane.Action, want)
		}
		d.Limits.Concurrency++
	}
}

// run runs something until the test ends, and waits for it.
func (w *world) run(name string, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
	})
}

func (w *world) startScheduler() {
	nc := w.connect("scheduler")
	w.run("scheduler", func(ctx context.Context) error {
		return app.RunScheduler(ctx, app.SchedulerConfig{Conn: nc, Log: zerolog.Nop()})
	})
}

func (w *world) startWorker() {
	nc, dir := w.connect("worker"), filepath.Join(w.t.TempDir(), "state")
	w.run("worker", func(ctx context.Context) error {
		return app.RunWorker(ctx, app.WorkerConfig{Conn: nc, Grant: w.grant, Access: w.access, StateDir: dir, Log: zerolog.Nop()})
	})
}

// subscribe hears all events live and through a durable consumer that it makes.
func (w *world) subscribe() (live, durable *book) {
	w.t.Helper()
	live, durable = newBook(), newBook()
	w.subscribeAs("subscriber", events.SubscribeConfig{Durable: "audit"}, live, durable)
	return live, durable
}

func (w *world) subscribeAs(role string, cfg events.SubscribeConfig, live, durable *book) {
	w.t.Helper()
	b := w.broker(role)
	ready := make(chan struct{}, 2)
	cfg.OnReady, cfg.OnError = func() { ready <- struct{}{} }, func(err error) { w.t.Log("subscriber:", err) }
	w.run("live subscriber", func(ctx context.Context) error { return events.Live(ctx, b.Conn(), cfg, live.add) })
	w.run("durable subscriber", func(ctx context.Context) error {
		return events.Durable(ctx, b.JetStream(), cfg, func(_ context.Context, e events.Event) error {
			durable.add(e)
			return nil
		})
	})
	for range 2 {
		select {
		case <-ready:
		case <-time.After(patience):
			w.t.Fatalf("a subscriber is not ready; denied: %v", w.denials.all())
		}
	}
}

func (w *world) openReader() *tokens.Client {
	w.t.Helper()
	c, err := tokens.Open(w.t.Context(), w.connect("reader"), tokens.Config{AccessKeyset: w.access})
	w.must(err)
	w.t.Cleanup(func() { w.must(c.Close()) })
	return c
}

// writer stores grants under a role's user.
func (w *world) writer(role string) (*broker.Broker, *enroll.Writer) {
	b := w.broker(role)
	return b, &enroll.Writer{Store: b, Teller: b.Publisher(), Keys: w.keys(), Source: "freshet/test"}
}

// login takes an account through the authorization code exchange.
func (w *world) login(account string) events.Credential {
	w.t.Helper()
	b, writer := w.writer("enroller")
	c := events.Credential{Provider: "acme", Account: account}
	d, err := app.OpenProvider(w.t.Context(), b, w.grant, "acme")
	w.must(err)
	_, err = enroll.Login(w.t.Context(), enroll.LoginConfig{
		Definition: d, Credential: c, OpenBrowser: enroll.PlayBrowser(w.client),
		Save: func(ctx context.Context, g enroll.NewGrant) error {
			_, err := writer.Enroll(ctx, d, c, g)
			return err
		},
	})
	w.must(err)
	return c
}

// wayToAProviderAndBack keeps what a browser will need, and takes it again.
func (w *world) wayToAProviderAndBack() {
	w.t.Helper()
	b, writer := w.writer("enroller")
	w.must(b.CheckEnrollments(w.t.Context()))
	pages := web.New(web.Config{Broker: b, Writer: writer, PublicURL: "https://connect.example.com"})
	link, err := pages.Link(w.t.Context(), events.Credential{Provider: "acme", Account: "carol"})
	w.must(err)
	shown := httptest.NewRecorder()
	pages.PublicHandler().ServeHTTP(shown, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, link, nil))
	if shown.Code != http.StatusSeeOther {
		w.t.Errorf("the link: %d", shown.Code)
	}
	w.dashboard(b)
	w.must(b.CreateEnrollment(w.t.Context(), "state_x", []byte("sealed"), time.Minute))
	_, err = b.TakeEnrollment(w.t.Context(), "state_x", func([]byte) error { return nil })
	w.must(err)
}

// dashboard shows how it is, by what its user may read.
func (w *world) dashboard(b *broker.Broker) {
	w.t.Helper()
	board := dashboard.New(dashboard.Config{Broker: b})
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- board.Run(ctx) }()
	srv := httptest.NewServer(board.Handler())
	resp, err := srv.Client().Get(srv.URL + "/live?page=/")
	w.must(err)
	all := bufio.NewScanner(resp.Body)
	all.Buffer(nil, 1<<20)
	missing := []string{"renewed, ", " of 65", "acme/alice"}
	for len(missing) > 0 && all.Scan() {
		missing = slices.DeleteFunc(missing, func(text string) bool { return strings.Contains(all.Text(), text) })
		if strings.Contains(all.Text(), "cannot be followed") {
			w.t.Errorf("the dashboard: %s", all.Text())
			break
		}
	}
	resp.Body.Close()
	resp, err = srv.Client().Get(srv.URL + "/credential?name=acme/bob")
	w.must(err)
	resp.Body.Close()
	if len(missing) > 0 || resp.StatusCode != http.StatusOK {
		w.t.Errorf("the dashboard lacks %q; a credential: %s", missing, resp.Status)
	}
	cancel()
	w.must(<-ended)
	srv.Close()
}

// importExpired brings a grant whose access token has ended, so that it is due at once.
func (w *world) importExpired(account string) events.Credential {
	w.t.Helper()
	b, writer := w.writer("enroller")
	known, err := app.OpenProviders(w.t.Context(), b, w.grant)
	w.must(err)
	issued, err := w.auth.Issue(account, "")
	w.must(err)
	line := fmt.Sprintf(`{"provider":"acme","account":%q,"refresh_token":%q,"access_token":%q,"expires_at":"2020-01-02T15:04:05Z"}`,
		account, issued.RefreshToken, issued.AccessToken)
	report, err := enroll.Import(w.t.Context(), enroll.ImportConfig{
		Reader: strings.NewReader(line), Writer: writer,
		Provider: func(name string) (*provider.Definition, bool) { d, ok := known[name]; return d, ok },
		Reject:   func(e enroll.LineError) { w.t.Error(e) },
	})
	w.must(err)
	if report.Imported != 1 {
		w.t.Fatalf("%d imported, want 1", report.Imported)
	}
	return events.Credential{Provider: "acme", Account: account}
}

// wantToken reads a token at once and through a source. Who has heard of a version may still read the one before it from
// a replica that lags; here there is one node.
func (w *world) wantToken(c *tokens.Client, cred events.Credential, version uint64) {
	w.t.Helper()
	got, err := c.Get(w.t.Context(), cred.String())
	w.must(err)
	w.must(got[0].Err)
	if got[0].Token.Version != version {
		w.t.Errorf("token of %s has version %d, want %d", cred, got[0].Token.Version, version)
	}
	t, err := c.TokenSource(cred.String()).Token()
	w.must(err)
	if t.AccessToken != got[0].Token.AccessToken.Reveal() {
		w.t.Errorf("the source of %s gives another token than the bucket has", cred)
	}
}

// renew asks for a newer token as a reader that was refused.
func (w *world) renew(c *tokens.Client, cred events.Credential) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	old, err := c.Token(ctx, cred.String())
	w.must(err)
	young, err := c.Renew(ctx, old)
	w.must(err)
	if young.Version != old.Version+1 {
		w.t.Errorf("a newer token than version %d is version %d", old.Version, young.Version)
	}
}

// throttle makes the provider ask for a rest: the worker pauses the lane, a scheduler ends the pause.
func (w *world) throttle(b *broker.Broker, c events.Credential) {
	w.t.Helper()
	w.must(w.auth.SetFaults([]authserver.Fault{{Kind: authserver.FaultStatus, Status: 429, RetryAfter: time.Second, Count: 1}}))
	s, err := b.Get(w.t.Context(), c)
	w.must(err)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	var failed *app.FailedError
	_, err = app.Demand(ctx, b, c, refresh.Job{Reason: events.ReasonDemand, GrantID: s.Record.GrantID, NewerThan: s.Record.Version})
	if !errors.As(err, &failed) || failed.Class != string(refresh.ClassThrottled) {
		w.t.Fatalf("a demand at a throttled provider: %v, want a failure of class %s", err, refresh.ClassThrottled)
	}
}

// operate does what a person does from the command line.
func (w *world) operate(b *broker.Broker, c events.Credential) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	pause := provider.Pause{By: "operator:test", Reason: "maintenance"}
	w.must(app.PauseLane(ctx, b, "acme", pause, "freshet/test"))
	w.must(app.ResumeLane(ctx, b, "acme", "operator:test", "freshet/test"))
	writer := enroll.Writer{Store: b}
	for _, p := range []*provider.Pause{&pause, nil} {
		_, err := writer.SetPaused(ctx, c, p)
		w.must(err)
	}
	e, err := app.Demand(ctx, b, c, refresh.Job{Reason: events.ReasonDemand, NewerThan: 1})
	w.must(err)
	if e.Data.Version != 2 {
		w.t.Errorf("the demand brought version %d, want 2", e.Data.Version)
	}
	list, err := b.Providers(ctx)
	w.must(err)
	if _, ok := list["acme"]; !ok {
		w.t.Errorf("providers %v, want acme among them", list)
	}
	for _, filter := range []string{"", "acme.>", c.Key()} {
		var seen []string
		see := func(s broker.Seen) { seen = append(seen, s.Key) }
		w.must(b.WatchRecords(ctx, broker.WatchConfig{Filter: filter, Once: true}, see, nil))
		if !slices.Contains(seen, c.Key()) {
			w.t.Errorf("the list of %q is %v, want %s among them", filter, seen, c.Key())
		}
	}
	_, err = b.LaneInfo(ctx, "acme")
	w.must(err)
}

// remove withdraws a credential under a role's user.
func (w *world) remove(role string, c events.Credential) {
	w.t.Helper()
	_, writer := w.writer(role)
	_, err := writer.Tombstone(w.t.Context(), c, refresh.StateDeleted)
	w.must(err)
}

// keepAndRestore takes a backup, and restores it where nothing is missing.
func (w *world) keepAndRestore(b *broker.Broker) {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "backup")
	m, err := backup.Take(w.t.Context(), b, dir, nil)
	w.must(err)
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(natstest.Run(w.t, natstest.Options{})))...)
	w.must(err)
	defer natstest.Close(nc)
	own, err := broker.New(nc, broker.Config{})
	w.must(err)
	w.must(backup.Open(w.t.Context(), m, dir, own))
	n, err := backup.Run(w.t.Context(), backup.Config{Manifest: m, From: own, To: b, Grant: w.grant, Access: w.access})
	w.must(err)
	if n.Records == 0 || n.Kept != n.Records || n.ProvidersKept != 1 || n.Bad != 0 {
		w.t.Errorf("restored %+v", n)
	}
}

// revoke withdraws a credential, here and at its provider.
func (w *world) revoke(role string, c events.Credential) {
	w.t.Helper()
	b, writer := w.writer(role)
	d, err := app.OpenProvider(w.t.Context(), b, w.grant, c.Provider)
	w.must(err)
	ask := refresh.NewAsker(nil)
	defer ask.CloseIdle()
	told, err := enroll.Revoke(w.t.Context(), enroll.RevokeConfig{
		Writer: writer, Definition: d, Revoke: ask.Revoke, RevokeAccess: ask.RevokeAccess, Patience: patience,
	}, c)
	w.must(err)
	if !told {
		w.t.Errorf("%s: its provider was not told", c)
	}
}

// examine looks whether all is well, and sees everything.
func (w *world) examine(b *broker.Broker) {
	w.t.Helper()
	lines := 0
	w.must(doctor.Examine(w.t.Context(), doctor.Config{Broker: b, Grant: w.grant, Access: w.access, Keys: true}, func(c probe.Check) {
		if lines++; c.Result == probe.Fail || strings.Contains(c.Found, "may not look") {
			w.t.Errorf("doctor: %s %s: %s", c.Result, c.Name, c.Found)
		}
	}))
	if lines < 15 {
		w.t.Errorf("doctor says %d lines, so little is seen", lines)
	}
}

// replay reads the history under a role's user.
func (w *world) replay(role string) {
	w.t.Helper()
	var got []events.Type
	err := events.Replay(w.t.Context(), w.broker(role).JetStream(), events.SubscribeConfig{}, func(_ context.Context, e events.Event) error {
		got = append(got, e.Type)
		return nil
	})
	w.must(err)
	if !slices.Contains(got, events.TokenUpdated) || !slices.Contains(got, events.ProviderResumed) {
		w.t.Errorf("%s: the history is %v, want what was told", role, got)
	}
}

// Every process may tell what its code may come to tell, also what the work above did not bring about.
func TestWhoMayTellWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.broker("operator").Setup(t.Context(), broker.SetupConfig{})
	w.must(err)
	withdrawn := []events.Type{events.TokenRevoked, events.TokenDeleted}
	attempts := []events.Type{events.TokenUpdated, events.TokenRefreshFailed, events.TokenReauthRequired}
	for role, types := range map[string][]events.Type{
		"scheduler": slices.Concat(attempts, withdrawn, []events.Type{events.TokenExpiring, events.ProviderPaused, events.ProviderResumed}),
		"worker":    slices.Concat(attempts, withdrawn, []events.Type{events.ProviderPaused}),
		"enroller":  append(withdrawn, events.TokenUpdated),
		"operator":  append(withdrawn, events.ProviderPaused, events.ProviderResumed),
	} {
		b := w.broker(role)
		for _, kind := range types {
			d := events.Data{Provider: "acme", Account: "alice", GrantID: "g", Generation: 1, Version: 1}
			if kind.AboutProvider() {
				d = events.Data{Provider: "acme", Revision: 1}
			}
			e := events.Event{ID: role + "." + string(kind), Type: kind, Source: "freshet/test", Time: time.Now(), Data: d}
			if err := b.Publisher().Publish(t.Context(), e); err != nil {
				t.Errorf("%s may not tell %s: %v", role, kind, err)
			}
		}
	}
}

// book keeps the events that were heard.
type book struct {
	mu      sync.Mutex
	all     []events.Event
	changed chan struct{} // closed and replaced with each event
}

func newBook() *book { return &book{changed: make(chan struct{})} }

func (b *book) add(e events.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, e)
	close(b.changed)
	b.changed = make(chan struct{})
}

// await waits until an event has been heard.
func (b *book) await(t *testing.T, what string, match func(events.Event) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		b.mu.Lock()
		found, changed := slices.ContainsFunc(b.all, match), b.changed
		b.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("nothing was heard of %s", what)
		}
	}
}

func isType(kind events.Type) func(events.Event) bool {
	return func(e events.Event) bool { return e.Type == kind }
}

func isAbout(kind events.Type, c events.Credential, version uint64) func(events.Event) bool {
	return func(e events.Event) bool {
		return e.Type == kind && e.Data.Credential() == c && e.Data.Version == version
	}
}
