package enroll_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestMain(m *testing.M) { natstest.VerifyTestMain(m) }

// patience bounds every wait in these tests. It is reached only when something is broken.
const patience = 30 * time.Second

// house is a NATS server with Freshet's assets, a writer and a subscriber to all events.
type house struct {
	broker *broker.Broker
	keys   refresh.Keys
	writer *enroll.Writer
	news   chan *nats.Msg
}

func newHouse(t testing.TB) *house {
	t.Helper()
	srv := natstest.Run(t, natstest.Options{})
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(srv))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b, err := broker.New(nc, broker.Config{})
	if err == nil {
		_, err = b.Setup(t.Context(), broker.SetupConfig{})
	}
	h := &house{broker: b, news: make(chan *nats.Msg, 10_000)}
	if err == nil {
		_, err = nc.ChanSubscribe("token.>", h.news)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.keys = refresh.Keys{Bucket: b.Names().TokensBucket(), Grant: natstest.Keyset(t), Access: natstest.Keyset(t)}
	h.writer = &enroll.Writer{Store: b, Teller: b.Publisher(), Keys: h.keys}
	return h
}

// heard returns the next event.
func (h *house) heard(t *testing.T) events.Event {
	t.Helper()
	select {
	case msg := <-h.news:
		e, err := events.Decode(h.broker.Names(), msg)
		if err != nil {
			t.Fatal(err)
		}
		return e
	case <-time.After(patience):
		t.Fatal("no event was told")
		return events.Event{}
	}
}

// stored reads a record.
func (h *house) stored(t *testing.T, c events.Credential) refresh.Stored {
	t.Helper()
	s, err := h.broker.Get(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put writes a record as some other process would.
func (h *house) put(t *testing.T, s refresh.Stored) refresh.Stored {
	t.Helper()
	revision, err := h.broker.Put(t.Context(), refresh.Write{Record: s.Record, Revision: s.Revision})
	if err != nil {
		t.Fatal(err)
	}
	s.Revision = revision
	return s
}

// announcement reads what a record's headers announce.
func (h *house) announcement(t *testing.T, c events.Credential) refresh.Announcement {
	t.Helper()
	stream, err := h.broker.JetStream().Stream(t.Context(), h.broker.Names().TokensStream())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), h.broker.Names().RecordSubject(c))
	if err != nil {
		t.Fatal(err)
	}
	s, err := refresh.ParseSummary(msg.Header)
	if err != nil {
		t.Fatal(err)
	}
	return s.Announce
}

// secretsOf opens a record.
func (h *house) secretsOf(t *testing.T, s refresh.Stored) (access, refreshToken string) {
	t.Helper()
	a, err := h.keys.OpenAccess(&s.Record)
	if err != nil {
		t.Fatal(err)
	}
	g, err := h.keys.OpenGrant(&s.Record)
	if err != nil {
		t.Fatal(err)
	}
	return a.Reveal(), g.RefreshToken.Reveal()
}

var alice = events.Credential{Provider: "acme", Account: "alice"}

// acme is a provider that is never asked.
func acme() *provider.Definition {
	d := provider.Definition{Name: "acme", ClientID: "dev", AuthURL: "https://acme.test/authorize", TokenURL: "https://acme.test/token"}.WithDefaults()
	return &d
}

func grant(access, refreshToken string) enroll.NewGrant {
	return enroll.NewGrant{
		AccessToken: seal.NewSecret(access), RefreshToken: seal.NewSecret(refreshToken), Lifetime: time.Hour,
		TokenType: "Bearer", Scopes: []string{"read"}, StartedAt: time.Now(),
	}
}

// authServer is a local authorization server, and the provider definition for it.
func authServer(t testing.TB, cfg authserver.Config) (*authserver.Server, *provider.Definition) {
	t.Helper()
	s := authserver.New(cfg)
	return s, providerAt(t, s)
}

// providerAt serves an authorization server at /authorize and /token.
func providerAt(t testing.TB, h http.Handler) *provider.Definition {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	d := provider.Definition{
		Name: "acme", Issuer: srv.URL, AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token",
		ClientID: "dev", ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
		Scopes: []string{"read", "write"},
	}.WithDefaults()
	return &d
}

// browser is a person's browser, with connections of its own.
func browser(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// faultyStore fails as it is told.
type faultyStore struct {
	refresh.Store
	get func(n int) error                 // nil: works
	put func(n int) (apply bool, e error) // e nil: works
	n   struct{ get, put int }
}

func (s *faultyStore) Get(ctx context.Context, c events.Credential) (refresh.Stored, error) {
	s.n.get++
	if s.get != nil {
		if err := s.get(s.n.get); err != nil {
			return refresh.Stored{}, err
		}
	}
	return s.Store.Get(ctx, c)
}

func (s *faultyStore) Put(ctx context.Context, w refresh.Write) (uint64, error) {
	s.n.put++
	if s.put == nil {
		return s.Store.Put(ctx, w)
	}
	apply, err := s.put(s.n.put)
	if err == nil {
		return s.Store.Put(ctx, w)
	}
	if apply {
		if _, e := s.Store.Put(ctx, w); e != nil {
			return 0, e
		}
	}
	return 0, err
}

// tellerFunc is a teller of one function.
type tellerFunc func(events.Event) error

func (f tellerFunc) Publish(_ context.Context, e events.Event) error { return f(e) }

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}
