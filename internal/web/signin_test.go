package web_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/seal"
)

// TestBrowsersSignIn: a browser shows the token once and has a session, which is for the dashboard alone.
func TestBrowsersSignIn(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "dashboard") })
	srv := httptest.NewTLSServer(c.server(web.Config{AdminToken: seal.NewSecret("a-long-admin-token"), Dashboard: show(page)}).AdminHandler())
	t.Cleanup(srv.Close)
	jar, err := cookiejar.New(nil)
	c.must(err)
	browser := &http.Client{Jar: jar, Transport: srv.Client().Transport}
	visit := func(path string, form url.Values) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
		if form != nil {
			req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, strings.NewReader(form.Encode()))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		c.must(err)
		req.Header.Set("Accept", "text/html")
		resp, err := browser.Do(req)
		c.must(err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		c.must(err)
		return resp.StatusCode, string(body)
	}
	if status, body := visit("/credentials", nil); status != 200 || !strings.Contains(body, "Admin token") || strings.Contains(body, "dashboard<") {
		t.Errorf("a stranger sees %d %s", status, body)
	}
	if status, body := visit("/sign-in", url.Values{"token": {"wrong"}}); status != 401 || !strings.Contains(body, "not the token") {
		t.Errorf("a wrong token: %d %s", status, body)
	}
	if status, body := visit("/sign-in", url.Values{"token": {" a-long-admin-token\n"}}); status != 200 || body != "dashboard" {
		t.Errorf("the token: %d %s", status, body)
	}
	at, err := url.Parse(srv.URL)
	c.must(err)
	cookies := jar.Cookies(at)
	if len(cookies) != 1 || cookies[0].Name != "__Host-freshet-admin" || strings.Contains(cookies[0].Value, "a-long") {
		t.Errorf("cookies %v", cookies)
	}
	if status, _ := visit("/v1/connect-links", url.Values{}); status != 401 {
		t.Errorf("a session asked the API: %d", status)
	}
	forged := *cookies[0]
	forged.Value = "9" + forged.Value
	jar.SetCookies(at, []*http.Cookie{{Name: forged.Name, Value: forged.Value, Path: "/", Secure: true}})
	if _, body := visit("/", nil); body == "dashboard" {
		t.Error("a session that lasts longer was believed")
	}
	jar.SetCookies(at, []*http.Cookie{{Name: cookies[0].Name, Value: cookies[0].Value, Path: "/", Secure: true}})
	if _, body := visit("/", nil); body != "dashboard" {
		t.Error("the session is over already")
	}
	if _, body := visit("/sign-out", url.Values{}); !strings.Contains(body, "Admin token") || len(jar.Cookies(at)) != 0 {
		t.Errorf("signed out: %s", body)
	}
	if strings.Contains(c.logged.String(), "a-long-admin-token") || !strings.Contains(c.logged.String(), "wrong admin token") {
		t.Error("the log should tell of the wrong token, and of no token")
	}
}

// TestSignInCookie: what a browser is told about it.
func TestSignInCookie(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	h := c.server(web.Config{AdminToken: seal.NewSecret("a-long-admin-token"), Dashboard: show(http.NotFoundHandler())}).AdminHandler()
	for address, want := range map[string]string{
		"https://admin.example.com/sign-in": "__Host-freshet-admin=", "http://localhost:8481/sign-in": "freshet-admin=",
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader("token=a-long-admin-token"))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		got := w.Header().Get("Set-Cookie")
		if !strings.HasPrefix(got, want) || !strings.Contains(got, "; HttpOnly; ") || !strings.HasSuffix(got, "SameSite=Strict") ||
			strings.Contains(got, "; Secure") != strings.HasPrefix(address, "https:") {
			t.Errorf("%s: %s", address, got)
		}
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		w = httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != http.StatusForbidden {
			t.Errorf("another site signs somebody in: %d", w.Code)
		}
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:8481/sign-in", strings.NewReader("token=a-long-admin-token"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Origin", "https://admin.example.com")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if got := w.Header().Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-freshet-admin=") || !strings.Contains(got, "; Secure") {
		t.Errorf("behind a proxy that ends TLS: %s", got)
	}
}

// TestWhatIsBeingSentEndsWithTheSession: a page that is open in one window is not fed on after somebody signed out in another, and the
// cookie is good for nothing any more.
func TestWhatIsBeingSentEndsWithTheSession(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	live := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		if req.URL.Path == "/live" {
			<-req.Context().Done()
		}
	})
	srv := httptest.NewServer(c.server(web.Config{AdminToken: seal.NewSecret("a-long-admin-token"), Dashboard: show(live)}).AdminHandler())
	t.Cleanup(srv.Close)
	browser := &http.Client{Transport: srv.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path, body string, cookie *http.Cookie) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		c.must(err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if cookie != nil {
			req.AddCookie(cookie)
		}
		resp, err := browser.Do(req)
		c.must(err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	var cookies [2]*http.Cookie
	for i := range cookies {
		cookies[i] = ask(http.MethodPost, "/sign-in", "token=a-long-admin-token", nil).Cookies()[0]
	}
	stream := ask(http.MethodGet, "/live", "", cookies[0])
	ask(http.MethodPost, "/sign-out", "", cookies[0])
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream: %v", err)
	}
	for i, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		if got := ask(http.MethodGet, "/", "", cookies[i]).StatusCode; got != want {
			t.Errorf("session %d: %d, want %d", i+1, got, want)
		}
	}
}
