package web_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// ask asks the admin listener for something.
func ask(t *testing.T, h http.Handler, edit func(*http.Request), body string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost:8481/v1/connect-links", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	if edit != nil {
		edit(req)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

func TestConnectLinks(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	h := c.servers[0].AdminHandler()
	before := time.Now()
	status, body := ask(t, h, nil, forAlice)
	var made struct {
		URL       string    `json:"url"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	c.must(json.Unmarshal([]byte(body), &made))
	life := made.ExpiresAt.Sub(before)
	if status != http.StatusCreated || !strings.HasPrefix(made.URL, c.public.URL+"/connect/acme?link=") || life < 59*time.Minute || life > time.Hour+time.Second {
		t.Errorf("%d %s", status, body)
	}
	if strings.Contains(made.URL, "alice") {
		t.Error("the link shows whom it is for")
	}
	for name, tt := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"no JSON":                  {`provider=acme`, 400, "cannot be read"},
		"two objects":              {forAlice + forAlice, 400, "more than one"},
		"an unknown member":        {`{"provider":"acme","acount":"alice"}`, 400, "acount"},
		"no provider":              {`{}`, 400, "provider:"},
		"an account of no name":    {`{"provider":"acme","account":"` + strings.Repeat("x", 300) + `"}`, 400, "account:"},
		"too long a life":          {`{"provider":"acme","expires_in":604800}`, 400, "expires_in:"},
		"a life in the past":       {`{"provider":"acme","expires_in":-1}`, 400, "expires_in:"},
		"all faults at once":       {`{"expires_in":-1,"return_url":"x"}`, 400, "return_url:"},
		"a script to return to":    {`{"provider":"acme","return_url":"javascript:alert(1)"}`, 400, "return_url:"},
		"plain http to return to":  {`{"provider":"acme","return_url":"http://app.example.com"}`, 400, "return_url:"},
		"no scheme to return to":   {`{"provider":"acme","return_url":"//evil.test"}`, 400, "return_url:"},
		"a provider nobody has":    {`{"provider":"nosuch"}`, 404, "nosuch"},
		"too large a body":         {`{"provider":"` + strings.Repeat("x", 70<<10) + `"}`, 400, "cannot be read"},
		"an identity without end":  {`{"provider":"acme","identity":"` + strings.Repeat("x", 400) + `"}`, 400, "identity:"},
		"loopback http to go back": {`{"provider":"acme","return_url":"http://localhost:3000/"}`, 201, "url"},
	} {
		if status, body := ask(t, h, nil, tt.body); status != tt.status || !strings.Contains(body, tt.text) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestWhoMayAskForLinks(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	open := c.servers[0].AdminHandler()
	closed := c.server(web.Config{AdminToken: seal.NewSecret("s3cret"), Dashboard: show(http.NotFoundHandler())}).AdminHandler()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, tt := range map[string]struct {
		h      http.Handler
		edit   func(*http.Request)
		status int
	}{
		"this machine":                       {open, nil, 201},
		"a name made to resolve to loopback": {open, func(r *http.Request) { r.Host = "evil.test:8481" }, 403},
		"an IPv6 loopback":                   {open, func(r *http.Request) { r.Host = "[::1]:8481" }, 201},
		"a form of a web page":               {open, header("Content-Type", "text/plain"), 400},
		"a script of a web page":             {open, header("Sec-Fetch-Site", "cross-site"), 403},
		"nobody known":                       {closed, nil, 401},
		"a wrong token":                      {closed, header("Authorization", "Bearer s3cret2"), 401},
		"another scheme":                     {closed, header("Authorization", "Basic s3cret"), 401},
		"the token":                          {closed, header("Authorization", "bearer s3cret"), 201},
		"the token, from elsewhere": {closed, func(r *http.Request) {
			r.Host = "freshet.internal"
			r.Header.Set("Authorization", "Bearer s3cret")
		}, 201},
	} {
		if status, body := ask(t, tt.h, tt.edit, forAlice); status != tt.status {
			t.Errorf("%s: %d, want %d: %s", name, status, tt.status, body)
		}
	}
	if strings.Contains(c.logged.String(), "s3cret") {
		t.Error("the token is in the log")
	}
}

// shownPage is a dashboard.
type shownPage struct{ h http.Handler }

func (p shownPage) Handler() http.Handler   { return p.h }
func (shownPage) Run(context.Context) error { return nil }

// show is a dashboard that makes no links.
func show(h http.Handler) func(func(context.Context, events.Credential) (string, error)) web.Dashboard {
	return func(func(context.Context, events.Credential) (string, error)) web.Dashboard { return shownPage{h} }
}

func TestDashboardIsMounted(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	h := c.server(web.Config{Dashboard: show(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "dashboard")
	}))}).AdminHandler()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil))
	if w.Body.String() != "dashboard" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestListenersThatWouldBeOpen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg  web.Config
		want []string // nothing: fine
	}{
		"nothing said":                      {web.Config{}, nil},
		"beyond loopback":                   {web.Config{Admin: web.Listener{Address: ":8481"}}, []string{"--admin-tls-cert", "--admin-token-file"}},
		"TLS alone":                         {web.Config{Admin: web.Listener{Address: "0.0.0.0:1", CertFile: "c", KeyFile: "k"}}, []string{"--admin-token-file"}},
		"a token alone":                     {web.Config{Admin: web.Listener{Address: "10.0.0.1:1"}, AdminToken: seal.NewSecret("x")}, []string{"--admin-tls-cert"}},
		"TLS and a token":                   {web.Config{Admin: web.Listener{Address: ":1", CertFile: "c", KeyFile: "k"}, AdminToken: seal.NewSecret("x")}, nil},
		"TLS and certificates":              {web.Config{Admin: web.Listener{Address: ":1", CertFile: "c", KeyFile: "k", ClientCAFile: "a"}}, nil},
		"certificates without TLS":          {web.Config{Admin: web.Listener{ClientCAFile: "a"}}, []string{"--admin-client-ca"}},
		"half a certificate":                {web.Config{Public: web.Listener{CertFile: "c"}}, []string{"--tls-key", "--public-url"}},
		"people from outside, and no URL":   {web.Config{Public: web.Listener{Address: ":8480"}}, []string{"--public-url: missing"}},
		"behind a proxy":                    {web.Config{Public: web.Listener{Address: ":8480"}, PublicURL: "https://connect.example.com/"}, nil},
		"plain http to people":              {web.Config{PublicURL: "http://connect.example.com"}, []string{"plain http"}},
		"a path":                            {web.Config{PublicURL: "https://example.com/x"}, []string{"want scheme"}},
		"a host without a port":             {web.Config{Public: web.Listener{Address: "localhost"}}, []string{"HOST:PORT"}},
		"a name that may not be loopback's": {web.Config{Admin: web.Listener{Address: "example.com:1"}}, []string{"beyond loopback"}},
	} {
		err := tt.cfg.Validate()
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, word := range tt.want {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v, want %s", name, err, word)
			}
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan [2]string, 1)
	ended := make(chan error, 1)
	free := web.Listener{Address: "127.0.0.1:0"}
	go func() {
		ended <- web.Run(ctx, web.Config{Broker: c.broker, Writer: c.writer, Public: free, Admin: free, Ready: func(public, admin string) {
			ready <- [2]string{public, admin}
		}})
	}()
	at := <-ready
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	b := &http.Client{Transport: transport, CheckRedirect: c.browser().CheckRedirect}
	resp, err := b.Post("http://"+at[1]+"/v1/connect-links", "application/json", strings.NewReader(forAlice))
	c.must(err)
	var made struct{ URL string }
	c.must(json.NewDecoder(resp.Body).Decode(&made))
	resp.Body.Close()
	if s := c.get(b, made.URL); s.status != http.StatusSeeOther || strings.Contains(s.header.Get("Set-Cookie"), "__Host-") || !strings.HasPrefix(s.location, c.acmeURL) {
		t.Errorf("%d %s %s", s.status, s.location, s.header.Get("Set-Cookie"))
	}
	if s := c.get(b, "http://"+at[0]+"/v1/connect-links"); s.status != http.StatusBadRequest {
		t.Errorf("the public listener makes links: %d", s.status)
	}
	cancel()
	c.must(<-ended)
}
