package enroll_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	for _, style := range []provider.AuthStyle{provider.AuthBasic, provider.AuthPost, provider.AuthNone} {
		t.Run(string(style), func(t *testing.T) {
			t.Parallel()
			client := authserver.Client{ID: "my app", Secret: "s:cr t/é", RedirectURIs: []string{"http://127.0.0.1/callback"}}
			if style == provider.AuthNone {
				client.Secret = ""
			}
			s, d := authServer(t, authserver.Config{Clients: []authserver.Client{client}, GrantLifetime: 24 * time.Hour, RefreshExpiresIn: true})
			d.ClientID, d.AuthStyle, d.ClientSecrets = client.ID, style, nil
			if client.Secret != "" {
				d.ClientSecrets = []seal.Secret{seal.NewSecret(client.Secret)}
			}
			h := newHouse(t)
			var out bytes.Buffer
			before := time.Now()
			g, err := enroll.Login(t.Context(), enroll.LoginConfig{
				Definition: d, Credential: alice, OpenBrowser: enroll.PlayBrowser(browser(t)), Out: &out,
				Save: func(ctx context.Context, g enroll.NewGrant) error {
					_, err := h.writer.Enroll(ctx, d, alice, g)
					return err
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if g.Lifetime != time.Hour || g.GrantLifetime <= 23*time.Hour || strings.Join(g.Scopes, " ") != "read write" || g.StartedAt.Before(before) {
				t.Errorf("grant %+v", g)
			}
			if !strings.Contains(out.String(), d.AuthURL+"?") || !strings.Contains(out.String(), "acme/alice") {
				t.Errorf("told %q", out.String())
			}
			_, refreshToken := h.secretsOf(t, h.stored(t, alice))
			if lost := s.Lost(map[string]string{"alice": refreshToken}); len(lost) > 0 {
				t.Errorf("what is stored is not what lives at the provider: %v", lost)
			}
			if l := s.Ledger(); l.Enrolments != 1 {
				t.Errorf("%d codes were redeemed, want 1", l.Enrolments)
			}
		})
	}
}

// TestTokensThatAreThereAreStored: Ctrl-C while they arrive does not lose them.
func TestTokensThatAreThereAreStored(t *testing.T) {
	t.Parallel()
	_, d := authServer(t, authserver.Config{})
	h := newHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := enroll.Login(ctx, enroll.LoginConfig{
		Definition: d, Credential: alice, OpenBrowser: enroll.PlayBrowser(browser(t)),
		Save: func(saving context.Context, g enroll.NewGrant) error {
			cancel()
			_, err := h.writer.Enroll(saving, d, alice, g)
			return err
		},
	})
	if s := h.stored(t, alice); err != nil || s.Record.Generation != 1 {
		t.Errorf("generation %d, %v", s.Record.Generation, err)
	}
}

func TestManyLoginsThroughOneReceiver(t *testing.T) {
	t.Parallel()
	const logins = 200
	s, d := authServer(t, authserver.Config{})
	r, err := enroll.NewReceiver()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	client := browser(t)
	exchange := refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{})
	defer exchange.CloseIdle()
	held := make(map[string]string)
	var mu sync.Mutex
	var work sync.WaitGroup
	for i := range logins {
		account := fmt.Sprint("user", i)
		work.Go(func() {
			g, err := enroll.Login(t.Context(), enroll.LoginConfig{
				Definition: d, Credential: events.Credential{Provider: "acme", Account: account},
				OpenBrowser: enroll.PlayBrowser(client), Receiver: r, Exchange: exchange,
			})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			held[account] = g.RefreshToken.Reveal()
		})
	}
	work.Wait()
	if lost := s.Lost(held); len(lost) > 0 || len(held) != logins {
		t.Errorf("%d logins, of which somebody got another's tokens: %v", len(held), lost)
	}
}

// login runs a login with a short patience.
func login(t *testing.T, d *provider.Definition, open func(context.Context, string) error) (enroll.NewGrant, error) {
	t.Helper()
	return enroll.Login(t.Context(), enroll.LoginConfig{Definition: d, Credential: alice, OpenBrowser: open, Timeout: patience})
}

func TestTheAuthorizationRequest(t *testing.T) {
	t.Parallel()
	d := acme()
	d.Scopes = []string{"read", "write"}
	d.AuthURL += "?tenant=7"
	asked := make(chan *url.URL, 1)
	_, err := enroll.Login(t.Context(), enroll.LoginConfig{
		Definition: d, Credential: events.Credential{Provider: "acme", Account: "team/alice@example.com"},
		Extra: map[string]string{"access_type": "offline"},
		OpenBrowser: func(_ context.Context, address string) error {
			u, err := url.Parse(address)
			asked <- u
			return errors.Join(err, errStore)
		},
	})
	wantErr(t, err, errStore)
	u := <-asked
	q := u.Query()
	for name, want := range map[string]string{
		"tenant": "7", "response_type": "code", "client_id": "dev", "scope": "read write", "access_type": "offline",
		"code_challenge_method": "S256", "login_hint": "team/alice@example.com",
	} {
		if q.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, q.Get(name), want)
		}
	}
	if len(q.Get("state")) != 43 || len(q.Get("code_challenge")) != 43 {
		t.Errorf("state %q, challenge %q: want 256 bits each", q.Get("state"), q.Get("code_challenge"))
	}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || back.Scheme != "http" || back.Hostname() != "127.0.0.1" || back.Path != "/callback" || back.Port() == "" {
		t.Errorf("redirect_uri = %s", q.Get("redirect_uri"))
	}
}

func TestLoginRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	d := acme()
	noURL := acme()
	noURL.AuthURL = ""
	open := func(context.Context, string) error { return errors.New("should not be reached") }
	tests := []struct {
		name string
		cfg  enroll.LoginConfig
		want string
	}{
		{"no provider", enroll.LoginConfig{Credential: alice, OpenBrowser: open}, "no provider"},
		{"no credential", enroll.LoginConfig{Definition: d, OpenBrowser: open}, "PROVIDER/ACCOUNT"},
		{"another provider", enroll.LoginConfig{Definition: d, Credential: events.Credential{Provider: "x", Account: "y"}, OpenBrowser: open}, "not a credential of"},
		{"nobody would see the address", enroll.LoginConfig{Definition: d, Credential: alice}, "OpenBrowser or Out"},
		{"no authorization endpoint", enroll.LoginConfig{Definition: noURL, Credential: alice, OpenBrowser: open}, "auth_url"},
		{
			"an extra parameter that the flow sets",
			enroll.LoginConfig{Definition: d, Credential: alice, OpenBrowser: open, Extra: map[string]string{"state": "x"}}, "state",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := enroll.Login(t.Context(), tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want it to mention %q", err, tt.want)
			}
		})
	}
}

// comeBack is an opener that skips the provider and comes back with these parameters beside the state.
func comeBack(t *testing.T, pages chan<- page, edit func(q url.Values)) func(context.Context, string) error {
	client := browser(t)
	return func(ctx context.Context, address string) error {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		q := url.Values{"state": {u.Query().Get("state")}}
		edit(q)
		p, err := get(ctx, client, u.Query().Get("redirect_uri")+"?"+q.Encode())
		if err == nil {
			pages <- p
		}
		return nil
	}
}

type page struct {
	status int
	header http.Header
	body   string
}

func get(ctx context.Context, client *http.Client, address string) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return page{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return page{resp.StatusCode, resp.Header, string(body)}, err
}

func TestAnswersOfTheAuthorizationEndpoint(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		edit func(q url.Values)
		want error  // nil: see text
		text string // in the error
	}{
		{"declined", func(q url.Values) { q.Set("error", "access_denied") }, enroll.ErrDeclined, ""},
		{
			"another error",
			func(q url.Values) { q.Set("error", "invalid_scope"); q.Set("error_description", "no such\nscope <b>") },
			nil, "the provider refused: invalid_scope (no such?scope <b>)",
		},
		{"an error that is no word", func(q url.Values) { q.Set("error", "<script>") }, nil, "the provider refused"},
		{"another issuer", func(q url.Values) { q.Set("code", "canary"); q.Set("iss", "https://evil.test") }, enroll.ErrMixUp, ""},
		{"neither code nor error", func(url.Values) {}, nil, "neither a code nor an error"},
		{"two codes", func(q url.Values) { q["code"] = []string{"canary", "canary"} }, nil, "code more than once"},
		{"a code of somebody else", func(q url.Values) { q.Set("code", "canary") }, nil, "invalid_grant"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, d := authServer(t, authserver.Config{})
			pages := make(chan page, 1)
			_, err := login(t, d, comeBack(t, pages, tt.edit))
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("error = %v, want %v %q", err, tt.want, tt.text)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("error %q shows the code", err)
			}
		})
	}
}

func TestPagesAreStrict(t *testing.T) {
	t.Parallel()
	_, d := authServer(t, authserver.Config{})
	r, err := enroll.NewReceiver()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	client := browser(t)
	pages := make(chan page, 2)
	cfg := enroll.LoginConfig{Definition: d, Receiver: r, Credential: events.Credential{Provider: "acme", Account: "<i>alice</i>"}}
	for _, edit := range []func(q url.Values){nil, func(q url.Values) { q.Set("error", "access_denied") }} {
		var shown sync.WaitGroup
		shown.Add(1)
		cfg.OpenBrowser = func(_ context.Context, address string) error {
			go func() { // a browser of its own, which the login's end does not stop
				defer shown.Done()
				if edit != nil {
					_ = comeBack(t, pages, edit)(context.Background(), address)
					return
				}
				p, err := get(context.Background(), client, address)
				if err != nil {
					t.Error(err)
				}
				pages <- p
			}()
			return nil
		}
		_, err := enroll.Login(t.Context(), cfg)
		if (err == nil) != (edit == nil) {
			t.Fatal(err)
		}
		shown.Wait()
	}
	stray, err := get(t.Context(), client, r.RedirectURI(d)+"?code=x&state=x")
	if err != nil {
		t.Fatal(err)
	}
	worked, declined := <-pages, <-pages
	for name, tt := range map[string]struct {
		page   page
		status int
		text   string
	}{
		"worked":   {worked, http.StatusOK, "acme/&lt;i&gt;alice&lt;/i&gt; is connected"},
		"declined": {declined, http.StatusBadGateway, "Access was declined"},
		"stray":    {stray, http.StatusBadRequest, "Nothing is waiting"},
	} {
		if tt.page.status != tt.status || !strings.Contains(tt.page.body, tt.text) || strings.Contains(tt.page.body, "<i>") {
			t.Errorf("%s: %d %s", name, tt.page.status, tt.page.body)
		}
		for header, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := tt.page.header.Get(header); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s = %q", name, header, got)
			}
		}
	}
}

func TestStrayRequestsDoNotEndTheWait(t *testing.T) {
	t.Parallel()
	_, d := authServer(t, authserver.Config{})
	client := browser(t)
	_, err := login(t, d, func(ctx context.Context, address string) error {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		back, state := u.Query().Get("redirect_uri"), u.Query().Get("state")
		for _, stray := range []string{
			back, back + "?code=x&state=" + state[:42] + "x", back + "?code=x&state=", back + "?state=" + state + "&state=" + state,
			back + "?%zz", strings.TrimSuffix(back, "/callback") + "/favicon.ico",
		} {
			p, err := get(ctx, client, stray)
			if err != nil || p.status == http.StatusOK {
				return fmt.Errorf("%s: %d, %w", stray, p.status, err)
			}
		}
		head, err := client.Head(back + "?code=x&state=" + state)
		if err != nil {
			return err
		}
		head.Body.Close()
		return enroll.PlayBrowser(client)(ctx, address)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAStateIsGoodOnce(t *testing.T) {
	t.Parallel()
	s, d := authServer(t, authserver.Config{})
	r, err := enroll.NewReceiver()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	client := browser(t)
	var back string
	client.CheckRedirect = func(req *http.Request, _ []*http.Request) error { back = req.URL.String(); return nil }
	done := make(chan struct{})
	_, err = enroll.Login(t.Context(), enroll.LoginConfig{
		Definition: d, Credential: alice, Receiver: r,
		OpenBrowser: func(_ context.Context, address string) error {
			defer close(done)
			return enroll.PlayBrowser(client)(context.Background(), address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-done
	p, err := get(t.Context(), client, back)
	if err != nil || p.status != http.StatusBadRequest {
		t.Errorf("the same address again: %d, %v", p.status, err)
	}
	if l := s.Ledger(); l.Enrolments != 1 {
		t.Errorf("%d codes were redeemed", l.Enrolments)
	}
}

func TestLoginEnds(t *testing.T) {
	t.Parallel()
	d := acme()
	blocked := func(ctx context.Context, _ string) error { <-ctx.Done(); return nil }
	t.Run("when nobody comes", func(t *testing.T) {
		t.Parallel()
		_, err := enroll.Login(t.Context(), enroll.LoginConfig{Definition: d, Credential: alice, OpenBrowser: blocked, Timeout: time.Millisecond})
		wantErr(t, err, enroll.ErrNobodyCame)
	})
	t.Run("with its context", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := enroll.Login(ctx, enroll.LoginConfig{Definition: d, Credential: alice, OpenBrowser: func(ctx context.Context, a string) error {
			cancel()
			return blocked(ctx, a)
		}})
		wantErr(t, err, context.Canceled)
	})
	t.Run("with its receiver", func(t *testing.T) {
		t.Parallel()
		r, err := enroll.NewReceiver()
		if err != nil {
			t.Fatal(err)
		}
		cfg := enroll.LoginConfig{Definition: d, Credential: alice, Receiver: r, OpenBrowser: func(context.Context, string) error { return r.Close() }}
		for range 2 {
			_, err = enroll.Login(t.Context(), cfg)
			wantErr(t, err, enroll.ErrReceiverClosed)
		}
	})
	t.Run("when the provider does not send the browser back", func(t *testing.T) {
		t.Parallel()
		_, d := authServer(t, authserver.Config{})
		d.ClientID = "unknown"
		_, err := login(t, d, enroll.PlayBrowser(browser(t)))
		if err == nil || !strings.Contains(err.Error(), "400 Bad Request instead of sending") {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("when saving fails", func(t *testing.T) {
		t.Parallel()
		_, d := authServer(t, authserver.Config{})
		_, err := enroll.Login(t.Context(), enroll.LoginConfig{
			Definition: d, Credential: alice, OpenBrowser: enroll.PlayBrowser(browser(t)),
			Save: func(context.Context, enroll.NewGrant) error { return errStore },
		})
		wantErr(t, err, errStore)
	})
}

func TestEachProviderHasItsOwnWayBack(t *testing.T) {
	t.Parallel()
	auth := authserver.Config{Clients: []authserver.Client{{
		ID: "dev", Secret: "dev-secret", RedirectURIs: []string{"http://127.0.0.1/callback/acme", "http://127.0.0.1/callback"},
	}}}
	for name, tt := range map[string]struct {
		path, back string // where it should come, and comes
		err        error
	}{
		"its own":                    {"/callback/acme", "/callback/acme", nil},
		"another's":                  {"/callback/acme", "/callback/evil", enroll.ErrMixUp},
		"everybody's":                {"/callback/acme", "/callback", enroll.ErrMixUp},
		"everybody's, as by default": {"", "/callback", nil},
		"another's, with a default":  {"", "/callback/evil", enroll.ErrMixUp},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, d := authServer(t, auth)
			d.CallbackPath = tt.path
			client := browser(t)
			// The browser is led astray on its way back.
			client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
				if req.URL.Query().Has("code") {
					req.URL.Path = tt.back
				}
				return nil
			}
			_, err := login(t, d, func(ctx context.Context, address string) error {
				_ = enroll.PlayBrowser(client)(ctx, address) // it says that it is elsewhere
				return nil
			})
			if tt.err == nil && err != nil {
				t.Fatal(err)
			}
			if tt.err != nil {
				wantErr(t, err, tt.err)
			}
		})
	}
}
