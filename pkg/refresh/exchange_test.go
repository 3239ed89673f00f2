package refresh_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

const goodReply = `{"access_token":"at-new","token_type":"Bearer","expires_in":3600,"refresh_token":"rt-new"}`

// exchangeRequest presents rt-old at a token URL as client web/hush, with plenty of time.
func exchangeRequest(tokenURL string) refresh.Request {
	return refresh.Request{
		Ticket:       refresh.Ticket{Attempt: "attempt"},
		Provider:     &provider.Definition{Name: "acme", TokenURL: tokenURL, ClientID: "web", AuthStyle: provider.AuthBasic},
		ClientSecret: seal.NewSecret("hush"),
		RefreshToken: seal.NewSecret("rt-old"),
		Deadline:     time.Now().Add(time.Minute),
		Fence:        func() time.Duration { return time.Minute },
	}
}

func newTestExchange(t testing.TB, cfg refresh.HTTPExchangeConfig) *refresh.HTTPExchange {
	t.Helper()
	e := refresh.NewHTTPExchange(cfg)
	t.Cleanup(e.CloseIdle)
	return e
}

func exchangeServer(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func wantOutcome(t *testing.T, o refresh.Outcome, phase refresh.Phase, errPart string) {
	t.Helper()
	if o.Phase != phase || !strings.Contains(o.Err, errPart) || (errPart == "") != (o.Err == "") {
		t.Fatalf("phase %q, err %q; want phase %q, err with %q", o.Phase, o.Err, phase, errPart)
	}
}

// seenRequest is a token request as the server sees it.
type seenRequest struct {
	user, password string
	basic          bool
	form           url.Values
	header         http.Header
}

func recordRequests(to chan<- seenRequest) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := seenRequest{header: r.Header}
		s.user, s.password, s.basic = r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		s.form, _ = url.ParseQuery(string(body))
		to <- s
		_, _ = io.WriteString(w, goodReply)
	}
}

func TestExchangeAuthenticatesInTheDeclaredWayOnly(t *testing.T) {
	t.Parallel()
	const id, secret = "my app:1", "p@ss/wörd +%"
	tests := map[string]struct {
		style     provider.AuthStyle
		grant     provider.GrantType
		noToken   bool
		wantBasic bool
		wantForm  url.Values
	}{
		"basic": {style: provider.AuthBasic, wantBasic: true, wantForm: url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {"rt+/= old"},
		}},
		"post": {style: provider.AuthPost, wantForm: url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {"rt+/= old"}, "client_id": {id}, "client_secret": {secret},
		}},
		"none": {style: provider.AuthNone, wantForm: url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {"rt+/= old"}, "client_id": {id},
		}},
		"client credentials": {
			style: provider.AuthBasic, grant: provider.GrantClientCredentials, noToken: true, wantBasic: true,
			wantForm: url.Values{"grant_type": {"client_credentials"}, "scope": {"a b"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan seenRequest, 1)
			srv := exchangeServer(t, recordRequests(got))
			req := exchangeRequest(srv.URL)
			req.RefreshToken, req.ClientSecret = seal.NewSecret("rt+/= old"), seal.NewSecret(secret)
			if tt.noToken {
				req.RefreshToken = seal.Secret{}
			}
			req.Provider.ClientID, req.Provider.AuthStyle, req.Provider.Grant = id, tt.style, tt.grant
			req.Provider.Scopes = []string{"a", "b"}
			o := newTestExchange(t, refresh.HTTPExchangeConfig{UserAgent: "ua/1"}).Exchange(t.Context(), req)
			wantOutcome(t, o, refresh.PhaseAnswered, "")
			s := <-got
			if s.basic != tt.wantBasic {
				t.Fatalf("basic authentication sent: %v, want %v", s.basic, tt.wantBasic)
			}
			if s.basic && (s.user != url.QueryEscape(id) || s.password != url.QueryEscape(secret)) {
				t.Errorf("basic user and password %q, %q are not form-urlencoded", s.user, s.password)
			}
			if s.form.Encode() != tt.wantForm.Encode() {
				t.Errorf("form %v, want %v", s.form, tt.wantForm)
			}
			for name, want := range map[string]string{
				"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", "User-Agent": "ua/1",
				"Idempotency-Key": "", "X-Idempotency-Key": "", "Accept-Encoding": "",
			} {
				if s.header.Get(name) != want {
					t.Errorf("header %s: %q, want %q", name, s.header.Get(name), want)
				}
			}
		})
	}
}

func TestRedeemPresentsTheFormAndLeavesItAlone(t *testing.T) {
	t.Parallel()
	got := make(chan seenRequest, 1)
	req := exchangeRequest(exchangeServer(t, recordRequests(got)).URL)
	req.Provider.AuthStyle = provider.AuthPost
	form := url.Values{"grant_type": {"authorization_code"}, "code": {"c+/= 1"}}
	given := form.Encode()
	o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Redeem(t.Context(), req.Provider, req.ClientSecret, form)
	wantOutcome(t, o, refresh.PhaseAnswered, "")
	want := url.Values{"grant_type": {"authorization_code"}, "code": {"c+/= 1"}, "client_id": {"web"}, "client_secret": {"hush"}}
	if s := <-got; s.form.Encode() != want.Encode() {
		t.Errorf("form %v, want %v", s.form, want)
	}
	if form.Encode() != given {
		t.Errorf("the caller's form is now %v", form)
	}
}

func TestExchangeRefusesRequestsItMustNotMake(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change  func(r *refresh.Request)
		wantErr string
		local   bool
	}{
		"plain http to a remote host": {func(r *refresh.Request) { r.Provider.TokenURL = "http://as.example/token?k=s3cr3t" }, "must be https", false},
		"loopback look-alike":         {func(r *refresh.Request) { r.Provider.TokenURL = "http://127.0.0.1.example/token" }, "must be https", false},
		"other scheme":                {func(r *refresh.Request) { r.Provider.TokenURL = "ftp://localhost/" }, "must be https", false},
		"no URL":                      {func(r *refresh.Request) { r.Provider.TokenURL = "" }, "not an absolute URL", false},
		"broken URL":                  {func(r *refresh.Request) { r.Provider.TokenURL = "https://a b/?k=s3cr3t" }, "not an absolute URL", false},
		"a key that is none":          {func(r *refresh.Request) { r.Provider.AuthStyle = provider.AuthPrivateKeyJWT }, "client_key cannot sign", false},
		"no auth style":               {func(r *refresh.Request) { r.Provider.AuthStyle = "" }, "not supported", true},
		"nothing to present":          {func(r *refresh.Request) { r.RefreshToken = seal.Secret{} }, "no refresh token", false},
		"deadline has passed":         {func(r *refresh.Request) { r.Deadline = time.Now().Add(-time.Second) }, "timed out", false},
		"no deadline":                 {func(r *refresh.Request) { r.Deadline = time.Time{} }, "timed out", false},
		"fence":                       {func(r *refresh.Request) { r.Fence = func() time.Duration { return 0 } }, "too little of the claim is left", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dials atomic.Int32
			e := newTestExchange(t, refresh.HTTPExchangeConfig{Dial: func(context.Context, string, string) (net.Conn, error) {
				dials.Add(1)
				return nil, errors.New("must not be dialled")
			}})
			req := exchangeRequest("https://as.example/token")
			tt.change(&req)
			o := e.Exchange(t.Context(), req)
			wantOutcome(t, o, refresh.PhaseNotSent, tt.wantErr)
			if o.Local != tt.local {
				t.Errorf("local: %v, want %v", o.Local, tt.local)
			}
			if strings.Contains(o.Err, "s3cr3t") {
				t.Errorf("err quotes the URL: %q", o.Err)
			}
			if n := dials.Load(); n != 0 {
				t.Errorf("%d connections made", n)
			}
		})
	}
}

func TestExchangeFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	var stolen atomic.Int32
	other := exchangeServer(t, func(w http.ResponseWriter, _ *http.Request) {
		stolen.Add(1)
		_, _ = io.WriteString(w, goodReply)
	})
	e := newTestExchange(t, refresh.HTTPExchangeConfig{})
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := exchangeServer(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		req := exchangeRequest(srv.URL)
		o := e.Exchange(t.Context(), req)
		wantOutcome(t, o, refresh.PhaseAnswered, "")
		if o.Status != status {
			t.Errorf("status %d, want %d", o.Status, status)
		}
		if j := refresh.Classify(req.Provider, o); j.Class != refresh.ClassUnknown {
			t.Errorf("HTTP %d is classed %s", status, j.Class)
		}
	}
	if n := stolen.Load(); n != 0 {
		t.Fatalf("the other host was asked %d times", n)
	}
}

func TestExchangeKeepsTheWholeAnswer(t *testing.T) {
	t.Parallel()
	date := "Tue, 03 Mar 2026 10:00:00 GMT"
	srv := exchangeServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; x=y")
		w.Header().Set("Retry-After", "17")
		w.Header().Set("Date", date)
		w.WriteHeader(http.StatusTeapot)
		for part := range strings.SplitSeq(goodReply, ",") { // chunked
			_, _ = io.WriteString(w, part+",")
			w.(http.Flusher).Flush()
		}
	})
	before := time.Now()
	o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), exchangeRequest(srv.URL))
	wantOutcome(t, o, refresh.PhaseAnswered, "")
	if o.Status != http.StatusTeapot || o.ContentType != "text/plain; x=y" || o.RetryAfter != "17" || o.Date != date {
		t.Errorf("status or headers lost: %d %q %q %q", o.Status, o.ContentType, o.RetryAfter, o.Date)
	}
	if string(o.Body) != goodReply+"," {
		t.Errorf("body %q", o.Body)
	}
	if o.StartedAt.Before(before) || o.EndedAt.Before(o.StartedAt) || time.Now().Before(o.EndedAt) {
		t.Errorf("times out of order: %v %v %v", before, o.StartedAt, o.EndedAt)
	}
	b, err := json.Marshal(o)
	var back refresh.Outcome
	if err != nil || json.Unmarshal(b, &back) != nil || string(back.Body) != string(o.Body) {
		t.Errorf("the outcome does not survive the journal: %v", err)
	}
}

func TestExchangeBoundsTheAnswer(t *testing.T) {
	t.Parallel()
	pad := func(size int) string {
		const frame = `{"access_token":"at","pad":""}`
		return strings.Replace(frame, `""`, `"`+strings.Repeat("x", size-len(frame))+`"`, 1)
	}
	tests := map[string]struct {
		body    string
		phase   refresh.Phase
		wantErr string
	}{
		"as large as may be": {pad(refresh.MaxReply), refresh.PhaseAnswered, ""},
		"one byte more":      {pad(refresh.MaxReply + 1), refresh.PhaseSent, "larger than 262144 bytes"},
		"a token, then more": {goodReply + strings.Repeat(" ", refresh.MaxReply), refresh.PhaseSent, "larger than 262144 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := exchangeServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.body) })
			o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), exchangeRequest(srv.URL))
			wantOutcome(t, o, tt.phase, tt.wantErr)
			if (tt.phase == refresh.PhaseAnswered) != (len(o.Body) == len(tt.body)) {
				t.Errorf("%d bytes of body with phase %s", len(o.Body), o.Phase)
			}
		})
	}
}

// rawServer answers each connection's first request with raw bytes and closes it.
func rawServer(t *testing.T, answer string) (tokenURL string) {
	t.Helper()
	return exchangeServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, answer)
		_ = c.Close()
	}).URL
}

func TestExchangeWithoutAWholeAnswer(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	tests := map[string]struct {
		answer  string
		phase   refresh.Phase
		wantErr string
	}{
		"dropped before the answer":           {"", refresh.PhaseSent, "connection closed"},
		"dropped in the head":                 {"HTTP/1.1 20", refresh.PhaseSent, "connection"},
		"not HTTP":                            {"SSH-2.0-rt-old\r\n\r\n", refresh.PhaseSent, "not HTTP"},
		"cut by length":                       {head + "Content-Length: 500\r\n\r\n" + goodReply[:40], refresh.PhaseSent, "cut off"},
		"cut by chunk":                        {head + "Transfer-Encoding: chunked\r\n\r\n20\r\n" + goodReply[:10], refresh.PhaseSent, "cut off"},
		"form cut off":                        {head + "Content-Length: 500\r\n\r\naccess_token=a", refresh.PhaseSent, "cut off"},
		"wrong length, whole object":          {head + "Content-Length: 500\r\n\r\n\ufeff" + goodReply, refresh.PhaseAnswered, ""},
		"no last chunk, whole object":         {head + "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(goodReply)), 16) + "\r\n" + goodReply + "\r\n", refresh.PhaseAnswered, ""},
		"no length at all":                    {head + "Connection: close\r\n\r\n" + goodReply, refresh.PhaseAnswered, ""},
		"headers larger than anybody sends":   {head + "X: " + strings.Repeat("x", 100<<10) + "\r\n\r\n" + goodReply, refresh.PhaseSent, "not HTTP"},
		"informational answers before it":     {"HTTP/1.1 103 Early Hints\r\n\r\n" + head + "Content-Length: 2\r\n\r\n{}", refresh.PhaseAnswered, ""},
		"an error with a whole object is one": {"HTTP/1.1 400 Bad Request\r\nContent-Length: 99\r\n\r\n" + `{"error":"invalid_grant"}`, refresh.PhaseAnswered, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), exchangeRequest(rawServer(t, tt.answer)))
			wantOutcome(t, o, tt.phase, tt.wantErr)
			if o.Phase == refresh.PhaseSent && o.Body != nil {
				t.Errorf("a part of an answer was kept: %q", o.Body)
			}
			if strings.Contains(o.Err, "rt-old") {
				t.Errorf("err quotes the server: %q", o.Err)
			}
		})
	}
}

func TestExchangeEndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	tests := map[string]http.HandlerFunc{
		"silent server": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
		"slow body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, goodReply[:30])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	}
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := exchangeRequest(exchangeServer(t, h).URL)
			req.Deadline = time.Now().Add(200 * time.Millisecond)
			o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(t.Context(), req)
			wantOutcome(t, o, refresh.PhaseSent, "timed out after ")
			if o.EndedAt.Before(req.Deadline) {
				t.Errorf("ended %v before the deadline", req.Deadline.Sub(o.EndedAt))
			}
		})
	}
}

func TestExchangeIsCancelledOnlyBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	t.Run("already cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(ctx, exchangeRequest("https://as.example/"))
		wantOutcome(t, o, refresh.PhaseNotSent, "cancelled before anything was sent")
	})
	t.Run("while connecting", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		e := newTestExchange(t, refresh.HTTPExchangeConfig{Dial: func(dialing context.Context, _, _ string) (net.Conn, error) {
			cancel()
			<-dialing.Done()
			return nil, dialing.Err()
		}})
		req := exchangeRequest("https://as.example/")
		o := e.Exchange(ctx, req)
		wantOutcome(t, o, refresh.PhaseNotSent, "cancelled before anything was sent")
		if !o.EndedAt.Before(req.Deadline) {
			t.Error("it went on waiting until the deadline")
		}
	})
	t.Run("after the first byte", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		srv := exchangeServer(t, func(w http.ResponseWriter, r *http.Request) {
			cancel()
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, goodReply)
		})
		o := newTestExchange(t, refresh.HTTPExchangeConfig{}).Exchange(ctx, exchangeRequest(srv.URL))
		wantOutcome(t, o, refresh.PhaseAnswered, "")
		if string(o.Body) != goodReply {
			t.Errorf("body %q", o.Body)
		}
	})
}
