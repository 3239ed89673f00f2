package interop_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// exchange is a request for tokens as it passed on the wire.
type exchange struct {
	grant     string // grant_type
	presented string // the refresh token that came with it
	assertion bool   // whether the client proved itself by a JWT
	status    int
	code      string // error
	issued    string // the refresh token of the answer
	access    string // its access token
}

// witness stands between Freshet and an authorization server and sees every request. The server calls itself by the
// witness's address. mu guards everything below it.
type witness struct {
	*httptest.Server
	next http.Handler // set before there are requests

	mu    sync.Mutex
	asked map[string]int // requests by path
	seen  []exchange
	cut   map[string]bool // clients whose next refresh gets no answer, and does not reach the server
}

// newWitness starts one before the server that serve makes for the issuer.
func newWitness(t *testing.T, serve func(issuer string) http.Handler) *witness {
	t.Helper()
	w := &witness{asked: make(map[string]int), cut: make(map[string]bool)}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	w.next = serve(w.URL)
	return w
}

// proxy is a handler that hands everything to the server at an address.
func proxy(t *testing.T, address string) http.Handler {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.SetXForwarded()
	}}
}

// ServeHTTP implements http.Handler.
func (w *witness) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	w.mu.Lock()
	w.asked[req.URL.Path]++
	w.mu.Unlock()
	if req.Method != http.MethodPost || !strings.HasSuffix(req.URL.Path, "/token") {
		w.next.ServeHTTP(rw, req)
		return
	}
	body, err := io.ReadAll(req.Body)
	form, formErr := url.ParseQuery(string(body))
	if client, _, _ := req.BasicAuth(); err != nil || formErr != nil || w.cuts(client, form) {
		panic(http.ErrAbortHandler) // closes the connection
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	w.next.ServeHTTP(answer, req)
	w.note(form, answer)
	for name, values := range answer.Header() {
		rw.Header()[name] = values
	}
	rw.WriteHeader(answer.Code)
	_, _ = rw.Write(answer.Body.Bytes())
}

func (w *witness) cuts(client string, form url.Values) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.cut[client] || form.Get("grant_type") != "refresh_token" {
		return false
	}
	delete(w.cut, client)
	return true
}

// cutNext breaks the connection of the client's next refresh before it reaches the server.
func (w *witness) cutNext(client string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[client] = true
}

func (w *witness) note(form url.Values, answer *httptest.ResponseRecorder) {
	var reply struct {
		Error        string
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	_ = json.Unmarshal(answer.Body.Bytes(), &reply)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, exchange{
		grant: form.Get("grant_type"), presented: form.Get("refresh_token"), assertion: form.Has("client_assertion"),
		status: answer.Code, code: reply.Error, issued: reply.RefreshToken, access: reply.AccessToken,
	})
}

// exchanges are those that passed so far.
func (w *witness) exchanges() []exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[:len(w.seen):len(w.seen)]
}

// asks is how many requests there were to a path.
func (w *witness) asks(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[path]
}

// of returns the exchange that gave an access token.
func (w *witness) of(t *testing.T, access string) exchange {
	t.Helper()
	for _, e := range w.exchanges() {
		if e.access == access {
			return e
		}
	}
	t.Fatal("the server never gave this access token")
	return exchange{}
}

// post sends a form past the witness as a client, and reads the JSON of the answer.
func (w *witness) post(t *testing.T, client, path string, form url.Values) (status int, answer map[string]any) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, clientSecret)
	rec := httptest.NewRecorder()
	w.next.ServeHTTP(rec, req)
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil && rec.Body.Len() > 0 {
		t.Fatalf("%s: %s", path, rec.Body)
	}
	return rec.Code, answer
}

// rotations is how many refresh tokens were used, one after the other, to come to an access token.
func (w *witness) rotations(t *testing.T, access string) (n int) {
	t.Helper()
	from := make(map[string]exchange) // by the refresh token that came of it
	for _, e := range w.exchanges() {
		if e.issued != "" {
			from[e.issued] = e
		}
	}
	for e := w.of(t, access); e.presented != ""; n++ {
		before, ok := from[e.presented]
		if !ok || before.issued == e.issued {
			t.Fatal("a refresh token was used that the server did not give, or gave twice")
		}
		e = before
	}
	return n
}

// checkOnce: no refresh token was presented again once it had been used.
func checkOnce(t *testing.T, all []exchange) {
	t.Helper()
	used := make(map[string]bool)
	for _, e := range all {
		if used[e.presented] {
			t.Error("a refresh token was presented again after it had been used")
		}
		if e.presented != "" && e.status == http.StatusOK {
			used[e.presented] = true
		}
	}
}
