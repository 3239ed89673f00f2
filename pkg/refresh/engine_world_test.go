package refresh_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// world is everything an engine works with, all of it real, in virtual time: a NATS server, a journal on the disk and
// authorization servers, one for each provider, behind real HTTP on a network in memory.
type world struct {
	*broker.Broker
	t         *testing.T
	ctx       context.Context
	dir       string
	keys      refresh.Keys
	nats      *natstest.Server
	providers map[string]*provider.Definition
	servers   map[string]*authorization // by provider
	exchange  *refresh.HTTPExchange
	http      *http.Client
	journals  []*journal.Journal
	stops     []func()
}

// authorization is a provider's authorization server and the network to it.
type authorization struct {
	*authserver.Server
	addr string
	pipe *authserver.Pipe
	http *http.Server
	done chan error
}

// inWorld runs a test in a world with the provider acme, of class strict.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	keys := refresh.Keys{Bucket: "tokens", Grant: natstest.Keyset(t), Access: natstest.Keyset(t)}
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			t: t, ctx: t.Context(), dir: dir, keys: keys, nats: natstest.Run(t, natstest.Options{StoreDir: filepath.Join(dir, "nats")}),
			providers: make(map[string]*provider.Definition), servers: make(map[string]*authorization),
		}
		defer w.close()
		nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(w.nats))...)
		w.must(err)
		w.stops = append(w.stops, nc.Close)
		w.Broker, err = broker.New(nc, broker.Config{})
		w.must(err)
		_, err = w.Setup(w.ctx, broker.SetupConfig{})
		w.must(err)
		w.exchange = refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: w.dial})
		w.http = &http.Client{Transport: &http.Transport{DialContext: w.dial, DisableKeepAlives: true}}
		w.apply("acme", authserver.Config{}, nil)
		test(t, w)
	})
}

// close ends everything in the order that leaves nothing behind; a bubble would notice what is left.
func (w *world) close() {
	if w.exchange != nil {
		w.exchange.CloseIdle()
	}
	for _, s := range w.servers {
		_ = s.http.Close()
		<-s.done
	}
	for _, j := range w.journals {
		_ = j.Close() // a second time is an error
	}
	for i := len(w.stops) - 1; i >= 0; i-- {
		w.stops[i]()
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// apply makes a provider known to the engines, on an authorization server of its own and of the same rotation class.
func (w *world) apply(name string, cfg authserver.Config, change func(*provider.Definition)) *provider.Definition {
	w.t.Helper()
	a := &authorization{
		Server: authserver.New(cfg), pipe: authserver.NewPipe(), done: make(chan error, 1),
		addr: fmt.Sprintf("127.0.0.1:%d", len(w.servers)+1),
	}
	a.http = &http.Server{Handler: a.Server}
	go func() { a.done <- a.http.Serve(a.pipe) }()
	w.servers[name] = a
	d := provider.Definition{
		Name: name, TokenURL: "http://" + a.addr + "/token", RevokeURL: "http://" + a.addr + "/revoke", ClientID: "dev",
		AuthStyle: provider.AuthBasic, ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, Rotation: provider.Rotation(cfg.Rotation),
	}
	if cfg.Rotation == authserver.RotationGrace {
		d.RotationGrace = provider.Duration(cfg.Grace)
	}
	if change != nil {
		change(&d)
	}
	d = d.WithDefaults()
	w.providers[name] = &d
	return &d
}

// dial connects to the authorization server at an address.
func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	for _, s := range w.servers {
		if s.addr == addr {
			return s.pipe.Dial(ctx, network, addr)
		}
	}
	return nil, fmt.Errorf("nobody is at %s", addr)
}

// enrol stores a grant of the account, due at once.
func (w *world) enrol(name string) events.Credential {
	w.t.Helper()
	c, err := events.ParseCredential(name)
	w.must(err)
	tok, err := w.servers[c.Provider].Issue(c.Account, "")
	w.must(err)
	now := time.Now().UTC()
	r := refresh.Record{
		V: refresh.SchemaVersion, Provider: c.Provider, Account: c.Account, GrantID: refresh.NewGrantID(), Generation: 1, Version: 1,
		State: refresh.StateActive, IssuedAt: now, RefreshAt: now, ExpiresAt: tok.ExpiresAt.UTC(), TokenType: "Bearer",
	}
	w.must(w.keys.Seal(&r, refresh.Grant{RefreshToken: seal.NewSecret(tok.RefreshToken)}, seal.NewSecret(tok.AccessToken)))
	_, err = w.Put(w.ctx, refresh.Write{Record: r})
	w.must(err)
	return c
}

func (w *world) record(c events.Credential) refresh.Stored {
	w.t.Helper()
	s, err := w.Get(w.ctx, c)
	w.must(err)
	return s
}

// change writes a record as some other writer would.
func (w *world) change(c events.Credential, edit func(*refresh.Record)) {
	w.t.Helper()
	s := w.record(c)
	edit(&s.Record)
	_, err := w.Put(w.ctx, refresh.Write{Record: s.Record, Revision: s.Revision})
	w.must(err)
}

// rival writes the next version, as a worker that was faster.
func (w *world) rival(c events.Credential) {
	w.t.Helper()
	tok, err := w.servers[c.Provider].Issue(c.Account, "")
	w.must(err)
	w.change(c, func(r *refresh.Record) {
		r.Version++
		r.State, r.Claim, r.Last = refresh.StateActive, nil, &refresh.Last{Attempt: "rival", Outcome: refresh.ClassOK}
		w.must(w.keys.Seal(r, refresh.Grant{RefreshToken: seal.NewSecret(tok.RefreshToken)}, seal.NewSecret(tok.AccessToken)))
	})
}

// remove takes a record away without leaving a marker.
func (w *world) remove(c events.Credential) {
	w.t.Helper()
	s, err := w.JetStream().Stream(w.ctx, w.Names().TokensStream())
	w.must(err)
	w.must(s.Purge(w.ctx, jetstream.WithPurgeSubject(w.Names().RecordSubject(c))))
}

// worker is an engine and what surrounds it.
type worker struct {
	*refresh.Engine
	store   *faultyStore
	teller  *faultyTeller
	log     *journal.Journal
	journal *faultyJournal
	results []refresh.Result // as observed
}

// worker starts one with a journal of its own, or with the one that an earlier worker of this name left.
func (w *world) worker(name string, change ...func(*refresh.Config)) *worker {
	w.t.Helper()
	log, err := journal.Open(filepath.Join(w.dir, name), journal.Config{OnError: func(err error) { w.t.Error(err) }})
	w.must(err)
	w.journals = append(w.journals, log)
	k := &worker{
		store: &faultyStore{Store: w.Broker}, log: log, journal: &faultyJournal{Journal: workerJournal{log}},
		teller: &faultyTeller{Teller: w.Publisher()},
	}
	cfg := refresh.Config{
		Worker: name, Store: k.store, Exchange: w.exchange, Journal: k.journal, Teller: k.teller, Keys: w.keys, Now: w.Now,
		Provider: func(name string) (*provider.Definition, bool) { d, ok := w.providers[name]; return d, ok },
		Ready:    log.Writable, Revoke: w.revoke, Observe: func(r refresh.Result) { k.results = append(k.results, r) },
	}
	for _, c := range change {
		c(&cfg)
	}
	k.Engine = refresh.NewEngine(cfg)
	return k
}

// workerJournal is a journal as the worker process has it.
type workerJournal struct{ *journal.Journal }

func (j workerJournal) Append(e refresh.Entry) error {
	return j.Journal.Append(journal.Entry{ID: e.ID, Key: e.Key, Data: e.Data})
}

func (j workerJournal) Drop(id string) error { return j.Retire(id) }

// recover gives everything that the journal holds to the engine, as a starting worker does.
func (k *worker) recover(ctx context.Context) (results []refresh.Result) {
	for _, e := range slices.AppendSeq(k.log.Pending(), k.log.Recent()) {
		results = append(results, k.Recover(ctx, refresh.Entry{ID: e.ID, Key: e.Key, Data: e.Data, Revision: e.Revision}))
	}
	return results
}

// dies runs a job in a worker that a script kills.
func (w *world) dies(k *worker, c events.Credential, job refresh.Job) {
	w.t.Helper()
	done := make(chan struct{})
	survived := false
	go func() {
		defer close(done)
		k.Do(w.ctx, c, job)
		survived = true
	}()
	<-done
	if survived {
		w.t.Fatal("the worker survived")
	}
	w.must(k.log.Close())
}

// revoke withdraws a token (RFC 7009).
func (w *world) revoke(ctx context.Context, d *provider.Definition, secret, token seal.Secret) error {
	form := url.Values{"token": {token.Reveal()}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.RevokeURL, strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(d.ClientID, secret.Reveal())
	return w.send(req, http.StatusOK)
}

// use shows the stored access token to the provider's resource, which takes it or refuses it.
func (w *world) use(c events.Credential, want int) {
	w.t.Helper()
	r := w.record(c).Record
	access, err := w.keys.OpenAccess(&r)
	w.must(err)
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://"+w.servers[c.Provider].addr+"/resource", nil)
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+access.Reveal())
	if err := w.send(req, want); err != nil {
		w.t.Errorf("use the access token of %s: %v", c, err)
	}
}

func (w *world) send(req *http.Request, want int) error {
	resp, err := w.http.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("status %d, want %d", resp.StatusCode, want)
	}
	return nil
}

// told returns the events of a credential, oldest first.
func (w *world) told(c events.Credential) (found []events.Event) {
	w.t.Helper()
	stream, err := w.JetStream().Stream(w.ctx, w.Names().EventsStream())
	w.must(err)
	info, err := stream.Info(w.ctx)
	w.must(err)
	for seq := info.State.FirstSeq; seq != 0 && seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(w.ctx, seq)
		w.must(err)
		e, err := events.Decode(w.Names(), &nats.Msg{Subject: msg.Subject, Header: msg.Header, Data: msg.Data})
		w.must(err)
		if e.Data.Credential() == c {
			found = append(found, e)
		}
		for _, canary := range []string{"access_token", "refresh_token"} {
			if bytes.Contains(msg.Data, []byte(canary)) {
				w.t.Errorf("event %s carries %s", e.ID, canary)
			}
		}
	}
	return found
}

// scheduled is the job a scheduler publishes for the record as it is.
func (w *world) scheduled(c events.Credential) refresh.Job {
	r := w.record(c).Record
	return refresh.Job{Reason: events.ReasonScheduled, GrantID: r.GrantID, NewerThan: r.Version}
}

// do runs a scheduled job and says what a test wants to know of its end.
func (w *world) do(k *worker, c events.Credential) refresh.Result {
	return k.Do(w.ctx, c, w.scheduled(c))
}

// wantResult checks how a job ended.
func wantResult(t *testing.T, got refresh.Result, verdict refresh.Verdict, class refresh.Class) {
	t.Helper()
	if got.Verdict != verdict || got.Class != class {
		t.Errorf("verdict %s, class %s; want %s, %s (because %s, detail %q, err %v)",
			got.Verdict, got.Class, verdict, class, got.Decision.Why, got.Detail, got.Err)
	}
}

// judge is what the authorization server must have seen; what is left out must not have happened.
type judge struct{ requests, rotations, reused, replayed, lastTries, withdrawn int64 }

// wantJudge checks what the provider saw. No test may present a token twice at a time.
func (w *world) wantJudge(name string, want judge) {
	w.t.Helper()
	l := w.servers[name].Ledger()
	got := judge{l.Requests["token"], l.Rotations, l.Reused, l.Replayed, l.LastTries, l.Withdrawn}
	if got != want || l.Concurrent != 0 {
		w.t.Errorf("%s saw %+v, %d concurrent; want %+v, none concurrent; %+v", name, got, l.Concurrent, want, l.Anomalies)
	}
}

// wantHeld checks that the record holds a refresh token that the provider would take now.
func (w *world) wantHeld(c events.Credential) {
	w.t.Helper()
	r := w.record(c).Record
	g, err := w.keys.OpenGrant(&r)
	w.must(err)
	if lost := w.servers[c.Provider].Lost(map[string]string{c.Account: g.RefreshToken.Reveal()}); len(lost) != 0 {
		w.t.Errorf("lost: %+v", lost)
	}
}

// wantRecord checks state and version, and that nothing is claimed.
func (w *world) wantRecord(c events.Credential, state refresh.State, version uint64) refresh.Record {
	w.t.Helper()
	r := w.record(c).Record
	if r.State != state || r.Version != version || r.Claim != nil {
		w.t.Errorf("%s is %s, version %d, claim %+v; want %s, version %d, no claim", c, r.State, r.Version, r.Claim, state, version)
	}
	return r
}

// wantJournal checks how many outcomes wait and how many are known to be committed.
func (k *worker) wantJournal(t *testing.T, pending, recent int) {
	t.Helper()
	if p, r := len(k.log.Pending()), k.log.Stats().Recent; p != pending || r != recent {
		t.Errorf("the journal holds %d pending and %d committed outcomes, want %d and %d", p, r, pending, recent)
	}
}

// exchangeFunc is an exchange made of a function.
type exchangeFunc func(refresh.Request) refresh.Outcome

func (f exchangeFunc) Exchange(_ context.Context, r refresh.Request) refresh.Outcome { return f(r) }
