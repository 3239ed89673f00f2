package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/dashboard"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestMain(m *testing.M) { natstest.VerifyTestMain(m) }

// canary is in every secret that there is in a test.
const canary = "canary-4f1d"

// desk is NATS, provider acme, and a dashboard that is served to browsers.
type desk struct {
	t      *testing.T
	broker *broker.Broker
	keys   refresh.Keys
	board  *dashboard.Dashboard
	srv    *httptest.Server
	stop   func()
}

func newDesk(t *testing.T, edit func(*dashboard.Config)) *desk {
	t.Helper()
	k := &desk{t: t}
	k.openNATS()
	d := provider.Definition{
		Name: "acme", AuthURL: "https://login.example.com/authorize", TokenURL: "https://login.example.com/token", ClientID: "dev",
		ClientSecrets: []seal.Secret{seal.NewSecret(canary + "-client")}, AuthStyle: provider.AuthBasic,
		Limits: provider.Limits{Concurrency: 8, Rate: 5},
	}.WithDefaults()
	_, err := app.Apply(t.Context(), k.broker, k.keys.Grant, d, false)
	k.must(err)
	cfg := dashboard.Config{Broker: k.broker, Operator: "operator:test", Link: func(_ context.Context, c events.Credential) (string, error) {
		return "https://connect.example.com/connect/" + c.Provider + "?link=sealed", nil
	}}
	if edit != nil {
		edit(&cfg)
	}
	k.board = dashboard.New(cfg)
	dashboard.Hurry(k.board)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.board.Run(ctx) }()
	k.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		ended <- nil
	}
	k.srv = httptest.NewServer(k.board.Handler())
	t.Cleanup(func() { k.stop(); k.srv.Close() })
	return k
}

func (k *desk) openNATS() {
	srv := natstest.Run(k.t, natstest.Options{})
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(srv))...)
	k.must(err)
	k.t.Cleanup(func() { natstest.Close(nc) })
	k.broker, err = broker.New(nc, broker.Config{})
	k.must(err)
	_, err = k.broker.Setup(k.t.Context(), broker.SetupConfig{})
	k.must(err)
	k.keys = refresh.Keys{Bucket: k.broker.Names().TokensBucket(), Grant: k.keyset(), Access: k.keyset()}
}

func (k *desk) keyset() *seal.Keyset {
	data, err := seal.GenerateKeyset()
	k.must(err)
	set, err := seal.LoadKeyset(data)
	k.must(err)
	return set
}

func (k *desk) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// record is a healthy one of acme, with sealed tokens of an hour, half of it over.
func (k *desk) record(account string) refresh.Record {
	now := time.Now().UTC().Truncate(time.Second)
	r := refresh.Record{
		V: refresh.SchemaVersion, Provider: "acme", Account: account, GrantID: refresh.NewGrantID(), Generation: 1, Version: 7,
		State: refresh.StateActive, Scopes: []string{"read"}, TokenType: "Bearer",
		IssuedAt: now.Add(-30 * time.Minute), RefreshAt: now.Add(20 * time.Minute), ExpiresAt: now.Add(30*time.Minute + 30*time.Second),
	}
	var err error
	binding := seal.Binding{Bucket: k.keys.Bucket, Key: r.Credential().Key(), Field: "access", GrantID: r.GrantID, Generation: 1, Version: 7}
	r.Access, err = k.keys.Access.Seal([]byte(canary+"-access"), binding)
	k.must(err)
	binding.Field = "grant"
	r.Grant, err = k.keys.Grant.Seal([]byte(canary+"-refresh"), binding)
	k.must(err)
	return r
}

// put stores a record that is new.
func (k *desk) put(r refresh.Record) {
	k.t.Helper()
	_, err := k.broker.Put(k.t.Context(), refresh.Write{Record: r})
	k.must(err)
}

// tell publishes an event about a record.
func (k *desk) tell(kind events.Type, r refresh.Record, edit func(*events.Data)) {
	k.t.Helper()
	data := events.Data{
		Provider: r.Provider, Account: r.Account, GrantID: r.GrantID, Generation: r.Generation, Version: r.Version,
		State: string(r.State), Reason: events.ReasonScheduled, Attempt: refresh.NewAttemptID(),
	}
	if edit != nil {
		edit(&data)
	}
	k.must(events.NewPublisher(k.broker.JetStream(), k.broker.Names()).Publish(k.t.Context(), events.Event{
		ID: refresh.NewAttemptID(), Type: kind, Source: "freshet/worker/w1", Time: time.Now().UTC(), Data: data,
	}))
}

// got is an answer.
type got struct {
	status int
	header http.Header
	body   string
}

func (k *desk) get(path string) got {
	k.t.Helper()
	return k.do(http.MethodGet, path, nil, nil)
}

func (k *desk) do(method, path string, form url.Values, header map[string]string) got {
	k.t.Helper()
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.srv.URL+path, strings.NewReader(form.Encode()))
	k.must(err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: k.srv.Client().Transport}
	resp, err := client.Do(req)
	k.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	k.must(err)
	return got{resp.StatusCode, resp.Header, string(body)}
}

// stream is what a browser hears that listens to a page.
type stream struct {
	t     *testing.T
	resp  *http.Response
	lines *bufio.Scanner
}

func (k *desk) listen(page string) *stream {
	k.t.Helper()
	req, err := http.NewRequestWithContext(k.t.Context(), http.MethodGet, k.srv.URL+"/live?"+url.Values{"page": {page}}.Encode(), nil)
	k.must(err)
	resp, err := k.srv.Client().Do(req)
	k.must(err)
	k.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		k.t.Fatalf("%s: %d %v", page, resp.StatusCode, resp.Header)
	}
	s := &stream{t: k.t, resp: resp, lines: bufio.NewScanner(resp.Body)}
	s.lines.Buffer(nil, 1<<20)
	return s
}

// await returns when a part says something.
func (s *stream) await(id, text string) (html string) {
	s.t.Helper()
	for s.lines.Scan() {
		data, ok := strings.CutPrefix(s.lines.Text(), "data: ")
		if !ok {
			continue
		}
		var p struct{ ID, HTML string }
		if err := json.Unmarshal([]byte(data), &p); err != nil {
			s.t.Fatal(err)
		}
		if p.ID == id && strings.Contains(p.HTML, text) {
			return p.HTML
		}
	}
	s.t.Fatalf("%s never says %q: the stream ended: %v", id, text, s.lines.Err())
	return ""
}

// awaitRead returns when everything that was there has been read.
func (k *desk) awaitRead() {
	k.t.Helper()
	s := k.listen("/")
	for s.lines.Scan() {
		if strings.Contains(s.lines.Text(), `"id":"troubles"`) && strings.Contains(s.lines.Text(), `"html":""`) {
			s.resp.Body.Close()
			return
		}
	}
	k.t.Fatal("never")
}

// keys are made names for an index.
func key(i int) string { return fmt.Sprintf("acme.user-%07d=40example=2Ecom", i) }
