package web_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestMain(m *testing.M) { natstest.VerifyTestMain(m) }

// town is NATS, an authorization server as provider acme, a hostile one as provider evil, and two instances of the web server
// that take turns behind one https address.
type town struct {
	t       *testing.T
	broker  *broker.Broker
	keys    refresh.Keys
	writer  *enroll.Writer
	servers [2]*web.Server
	public  *httptest.Server
	admin   *httptest.Server
	acme    *authserver.Server
	acmeURL string
	evilURL string
	stolen  atomic.Int32 // requests at evil's token endpoint
	logged  book
}

// book is a log that many write.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// claims are what acme says of whoever agrees: the name that was given there is the username.
func claims(account string) map[string]any {
	return map[string]any{"sub": "id-of-" + account, "preferred_username": account}
}

func newTown(t *testing.T) *town {
	t.Helper()
	c := &town{t: t}
	c.openNATS()
	var turn atomic.Int32
	c.public = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.servers[turn.Add(1)%2].PublicHandler().ServeHTTP(w, r)
	}))
	t.Cleanup(c.public.Close)
	c.acme = authserver.New(authserver.Config{Claims: claims, Clients: []authserver.Client{{
		ID: "dev", Secret: "dev-secret", RedirectURIs: []string{c.public.URL + "/connect/acme/callback"},
	}}})
	c.acmeURL = c.serve(c.acme)
	c.evilURL = c.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.stolen.Add(1)
		w.WriteHeader(http.StatusBadRequest)
	}))
	c.apply("acme", c.acmeURL)
	c.apply("evil", c.evilURL)
	for i := range c.servers {
		c.servers[i] = c.server(web.Config{})
	}
	c.admin = httptest.NewServer(c.servers[0].AdminHandler())
	t.Cleanup(c.admin.Close)
	return c
}

func (c *town) serve(h http.Handler) string {
	srv := httptest.NewServer(h)
	c.t.Cleanup(srv.Close)
	return srv.URL
}

// server is another instance.
func (c *town) server(cfg web.Config) *web.Server {
	cfg.Broker, cfg.Writer, cfg.PublicURL = c.broker, c.writer, c.public.URL
	cfg.Log = zerolog.New(&c.logged).Level(zerolog.DebugLevel)
	s := web.New(cfg)
	c.t.Cleanup(s.Close)
	return s
}

func (c *town) openNATS() {
	srv := natstest.Run(c.t, natstest.Options{})
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(srv))...)
	c.must(err)
	c.t.Cleanup(nc.Close)
	c.broker, err = broker.New(nc, broker.Config{})
	c.must(err)
	_, err = c.broker.Setup(c.t.Context(), broker.SetupConfig{})
	c.must(err)
	c.keys = refresh.Keys{Bucket: c.broker.Names().TokensBucket(), Grant: c.keyset(), Access: c.keyset()}
	c.writer = &enroll.Writer{Store: c.broker, Teller: c.broker.Publisher(), Keys: c.keys}
}

func (c *town) keyset() *seal.Keyset {
	data, err := seal.GenerateKeyset()
	c.must(err)
	k, err := seal.LoadKeyset(data)
	c.must(err)
	return k
}

func (c *town) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// apply makes a provider of the authorization server at an address.
func (c *town) apply(name, at string) { c.applyWith(name, at, func(*provider.Definition) {}) }

func (c *town) applyWith(name, at string, edit func(*provider.Definition)) {
	c.t.Helper()
	d := provider.Definition{
		Name: name, Issuer: at, AuthURL: at + "/authorize", TokenURL: at + "/token", IssInAnswer: true, ClientID: "dev",
		ClientSecrets: []seal.Secret{seal.NewSecret("dev-secret")}, AuthStyle: provider.AuthBasic,
	}.WithDefaults()
	edit(&d)
	_, err := app.Apply(c.t.Context(), c.broker, c.keys.Grant, d, false)
	c.must(err)
}

// link asks for a link.
func (c *town) link(body string) string {
	c.t.Helper()
	resp, err := http.Post(c.admin.URL+"/v1/connect-links", "application/json", strings.NewReader(body))
	c.must(err)
	defer resp.Body.Close()
	var made struct{ URL string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusCreated {
		c.t.Fatalf("%s: %d, %v", body, resp.StatusCode, err)
	}
	return made.URL
}

const forAlice = `{"provider":"acme","account":"alice"}`

// browser is a person's: it keeps cookies, and follows no redirect unless it is told.
func (c *town) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	c.must(err)
	return &http.Client{
		Jar: jar, Transport: c.public.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// shown is what a browser got.
type shown struct {
	status   int
	header   http.Header
	body     string
	location string
}

func (c *town) get(b *http.Client, address string) shown {
	c.t.Helper()
	resp, err := b.Get(address)
	c.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	c.must(err)
	return shown{resp.StatusCode, resp.Header, string(body), resp.Header.Get("Location")}
}

// leave opens a link and returns the provider's address, where the browser is sent.
func (c *town) leave(b *http.Client, link string) string {
	c.t.Helper()
	s := c.get(b, link)
	if s.status != http.StatusSeeOther {
		c.t.Fatalf("the link: %d %s\n%s", s.status, s.body, c.logged.String())
	}
	return s.location
}

// agree is the person at the provider, whose name there is as it says, and returns the way back.
func (c *town) agree(b *http.Client, at, name string) string {
	c.t.Helper()
	s := c.get(b, edited(at, "login_hint", name))
	if s.status != http.StatusFound {
		c.t.Fatalf("the provider: %d %s", s.status, s.body)
	}
	return s.location
}

// edited sets a query parameter of an address; without a value it goes.
func edited(address, name, value string) string {
	u, err := url.Parse(address)
	if err != nil {
		return err.Error()
	}
	q := u.Query()
	if q.Del(name); value != "" {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// param reads a query parameter of an address.
func param(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Query().Get(name)
}

// generation is how often a credential was connected.
func (c *town) generation(account string) uint64 {
	c.t.Helper()
	s, err := c.broker.Get(c.t.Context(), events.Credential{Provider: "acme", Account: account})
	if err != nil && !strings.Contains(err.Error(), refresh.ErrNotFound.Error()) {
		c.t.Fatal(err)
	}
	return s.Record.Generation
}

// credentials is how many there are.
func (c *town) credentials() int {
	c.t.Helper()
	stream, err := c.broker.JetStream().Stream(c.t.Context(), c.broker.Names().TokensStream())
	c.must(err)
	return int(stream.CachedInfo().State.Msgs)
}
