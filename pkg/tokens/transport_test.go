package tokens_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// resource takes requests that bear one token, and tells how many it refused.
type resource struct {
	*httptest.Server
	takes   atomic.Pointer[string] // the whole Authorization header
	refused atomic.Int64
	status  int    // of a refusal; 0: 401
	header  string // WWW-Authenticate of a refusal
	// refusing is called before a refusal is sent.
	refusing func()
}

func newResource(t testing.TB, token string) *resource {
	t.Helper()
	r := &resource{}
	r.take(token)
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Server.Close)
	return r
}

func (r *resource) take(token string) {
	header := "Bearer " + token
	r.takes.Store(&header)
}

// ServeHTTP implements http.Handler: it gives back what it is sent.
func (r *resource) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	if req.Header.Get("Authorization") != *r.takes.Load() {
		r.refused.Add(1)
		if r.refusing != nil {
			r.refusing()
		}
		w.Header().Set("WWW-Authenticate", r.header)
		w.WriteHeader(max(r.status, http.StatusUnauthorized))
		body = []byte("refused")
	}
	_, _ = w.Write(body)
}

// client is an HTTP client that uses a credential's token; base nil: a transport of its own.
func client(t testing.TB, c *tokens.Client, id string, base http.RoundTripper) *http.Client {
	if base == nil {
		own := &http.Transport{MaxIdleConnsPerHost: 100}
		t.Cleanup(own.CloseIdleConnections)
		base = own
	}
	return &http.Client{Transport: c.Transport(id, base)}
}

// fetch sends a request and returns the status and what came back.
func fetch(t testing.TB, h *http.Client, method, url string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	var resp *http.Response
	if err == nil {
		resp, err = h.Do(req)
	}
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(data)
}

// refused is a bucket with alice's first token, which the resource does not take: it takes the second.
func refused(t *testing.T, cfg tokens.Config) (*lane, refresh.Record, *tokens.Client, *resource) {
	t.Helper()
	b, c := setup(t, cfg)
	r := record("alice")
	b.put(r, access(1))
	return b.newLane(""), r, c, newResource(t, access(2))
}

func TestTransportAsksOnceForAllAndRepeats(t *testing.T) {
	t.Parallel()
	l, r, c, res := refused(t, tokens.Config{Wait: patience})
	refreshes := l.work(r)
	other := l.open(l.s.connect(t), tokens.Config{Wait: patience})
	var wg sync.WaitGroup
	for _, c := range []*tokens.Client{c, other} {
		h := client(t, c, "acme/alice", nil)
		for i := range 50 {
			wg.Go(func() {
				sent := fmt.Sprint("body ", i)
				if status, got := fetch(t, h, http.MethodPost, res.URL, strings.NewReader(sent)); status != http.StatusOK || got != sent {
					t.Errorf("%d %q, want %q back", status, got, sent)
				}
			})
		}
	}
	wg.Wait()
	if n := refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func TestTransportAsksAsSomebodyWhoWasRefused(t *testing.T) {
	t.Parallel()
	l, r, c, res := refused(t, tokens.Config{Wait: 100 * time.Millisecond})
	h := client(t, c, "acme/alice", nil)
	if status, got := fetch(t, h, http.MethodGet, res.URL, nil); status != http.StatusUnauthorized || got != "refused" {
		t.Errorf("%d %q, want the refusal as it was", status, got)
	}
	job, _, ok := l.next(patience)
	want := refresh.Job{Reason: events.ReasonDemand, GrantID: r.GrantID, NewerThan: 1, Refused: true}
	if !ok || job != want {
		t.Errorf("job %+v, want %+v", job, want)
	}
}

func TestTransportKnowsWhatNoNewTokenWouldChange(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		header string
		asks   bool
	}{
		"no challenge":                    {401, "", true},
		"invalid_token":                   {401, `Bearer realm="x", error="invalid_token", error_description="no, not good"`, true},
		"a word of their own":             {401, `Bearer error=expired`, true},
		"another scheme":                  {401, `Negotiate oYG2MIGz==`, true},
		"insufficient_scope":              {401, `Bearer realm="a=b, c", error="insufficient_scope"`, false},
		"insufficient_scope, bare":        {401, `Bearer error = insufficient_scope, scope=x`, false},
		"insufficient_scope, first":       {401, `Bearer error="insufficient_scope"`, false},
		"invalid_request":                 {401, `Bearer error="invalid_request"`, false},
		"step up":                         {401, `DPoP algs="ES256", Bearer error="insufficient_user_authentication", acr_values="x"`, false},
		"in a description":                {401, `Bearer error_description="error=\"insufficient_scope\", error=invalid_request"`, true},
		"forbidden":                       {403, `Bearer error="insufficient_scope"`, false},
		"forbidden, though it says token": {403, `Bearer error="invalid_token"`, false},
		"not there":                       {404, `Bearer error="invalid_token"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, r, c, res := refused(t, tokens.Config{Wait: patience})
			l.work(r)
			res.status, res.header = tt.status, tt.header
			want, jobs := tt.status, uint64(0)
			if tt.asks {
				want, jobs = http.StatusOK, 1
			}
			status, _ := fetch(t, client(t, c, "acme/alice", nil), http.MethodGet, res.URL, nil)
			if asked := l.asked(); status != want || asked != jobs {
				t.Errorf("status %d and %d jobs, want %d and %d", status, asked, want, jobs)
			}
		})
	}
}

func TestTransportDoesNotAskForWhatIsThere(t *testing.T) {
	t.Parallel()
	l, r, c, res := refused(t, tokens.Config{Wait: patience})
	res.refusing = func() { // the token was replaced while the request was on its way, and nobody has told yet
		r.Version = 2
		l.put(r, access(2))
	}
	if status, _ := fetch(t, client(t, c, "acme/alice", nil), http.MethodGet, res.URL, nil); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if n := l.asked(); n != 0 {
		t.Errorf("%d jobs, want none", n)
	}
}

func TestTransportRepeatsOnlyWhatItCan(t *testing.T) {
	t.Parallel()
	l, r, c, res := refused(t, tokens.Config{Wait: patience})
	refreshes := l.work(r)
	h := client(t, c, "acme/alice", nil)
	once := struct{ io.Reader }{bytes.NewReader([]byte("a stream"))}
	if status, got := fetch(t, h, http.MethodPost, res.URL, once); status != http.StatusUnauthorized || got != "refused" {
		t.Errorf("%d %q, want the refusal as it was", status, got)
	}
	awaitToken(t, c.TokenSource("acme/alice"), access(2)) // it has asked all the same
	if status, got := fetch(t, h, http.MethodPost, res.URL, strings.NewReader("again")); status != http.StatusOK || got != "again" {
		t.Errorf("%d %q", status, got)
	}
	if n := refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

// tripper is a transport of one function.
type tripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// refusesAll answers 401 to everything.
func refusesAll(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusUnauthorized, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader("refused")),
	}, nil
}

// bubble is refused in virtual time: whatever is sent is refused.
func bubble(t *testing.T, cfg tokens.Config, rate string, f func(l *lane, r refresh.Record, h *http.Client)) {
	t.Helper()
	inBubble(t, cfg, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		r.ExpiresAt = r.ExpiresAt.Add(24 * time.Hour)
		b.put(r, access(1))
		l := b.newLane(rate)
		f(l, r, client(t, c, "acme/alice", tripper(refusesAll)))
	})
}

func TestAServerThatRefusesEverythingCostsARefreshEachHalfMinute(t *testing.T) {
	t.Parallel()
	bubble(t, tokens.Config{}, "", func(l *lane, r refresh.Record, h *http.Client) {
		refreshes := l.work(r)
		began := time.Now()
		for time.Since(began) < 75*time.Second {
			if status, got := fetch(l.t, h, http.MethodGet, "http://api.example", nil); status != http.StatusUnauthorized || got != "refused" {
				l.t.Fatalf("%d %q", status, got)
			}
			time.Sleep(time.Second)
		}
		if n := refreshes.Load(); n != 3 {
			l.t.Errorf("%d refreshes in 75 s, want 3", n)
		}
	})
}

func TestTransportWaitsNoLongerThanItSays(t *testing.T) {
	t.Parallel()
	h := newHeard()
	bubble(t, tokens.Config{Wait: 3 * time.Second, OnError: h.add}, "", func(l *lane, _ refresh.Record, c *http.Client) {
		began := time.Now()
		if status, got := fetch(l.t, c, http.MethodGet, "http://api.example", nil); status != http.StatusUnauthorized || got != "refused" {
			l.t.Errorf("%d %q", status, got)
		}
		if took := time.Since(began); took != 3*time.Second {
			l.t.Errorf("waited %s, want 3s", took)
		}
		synctest.Wait()
		if len(h.errs) != 1 {
			l.t.Fatalf("%d errors were reported, want 1", len(h.errs))
		}
		if err := <-h.errs; !errors.Is(err, tokens.ErrNotRenewed) {
			l.t.Errorf("reported %v", err)
		}
	})
}

// A demand that an impatient caller gave up is there for one with more patience, and costs no second refresh.
func TestAnImpatientCallerDoesNotSpeakForTheOthers(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		b.put(r, access(1))
		l := b.newLane("")
		refused, err := c.Token(t.Context(), "acme/alice")
		if err != nil {
			t.Fatal(err)
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Renew(soon, refused)
		wantErr(t, err, tokens.ErrNotRenewed)
		synctest.Wait()
		time.AfterFunc(2*time.Second, func() {
			r.Version = 2
			b.tell(b.put(r, access(2)))
		})
		late, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		newer, err := c.Renew(late, refused)
		if err != nil || newer.Version != 2 {
			t.Fatalf("version %d, %v", newer.Version, err)
		}
		if n := l.asked(); n != 1 {
			t.Errorf("%d jobs, want 1", n)
		}
	})
}

// What comes after an impatient caller has gone ends its demand all the same.
func TestAnImpatientCallerCostsNoMoreThanOthers(t *testing.T) {
	t.Parallel()
	inBubble(t, tokens.Config{}, func(t *testing.T, b *bucket, c *tokens.Client) {
		r := record("alice")
		b.put(r, access(1))
		l := b.newLane("")
		for version := uint64(1); version <= 2; version++ {
			refused, err := c.Token(t.Context(), "acme/alice")
			if err != nil || refused.Version != version {
				t.Fatalf("version %d, %v", refused.Version, err)
			}
			soon, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err = c.Renew(soon, refused)
			cancel()
			wantErr(t, err, tokens.ErrNotRenewed)
			if _, msg, ok := l.next(time.Second); ok != (version == 1) || ok && msg.DoubleAck(t.Context()) != nil {
				t.Fatalf("version %d: asked for: %t", version, ok)
			}
			r.Version = 2
			b.tell(b.put(r, access(2)))
			synctest.Wait()
		}
	})
}

// The queue refuses a second job for a credential, and the first may ask for less.
func TestADemandOutlivesAJobThatAsksForLess(t *testing.T) {
	t.Parallel()
	bubble(t, tokens.Config{Wait: 5 * time.Second}, "", func(l *lane, r refresh.Record, c *http.Client) {
		small := refresh.Job{Reason: events.ReasonScheduled, GrantID: r.GrantID, NewerThan: 0}
		if _, err := l.js.Publish(l.t.Context(), l.names.JobSubject(r.Credential()), small.Encode()); err != nil {
			l.t.Fatal(err)
		}
		go fetch(l.t, c, http.MethodGet, "http://api.example", nil)
		time.Sleep(time.Second)
		if _, msg, ok := l.next(time.Second); !ok || msg.DoubleAck(l.t.Context()) != nil {
			l.t.Fatal("the first job is gone")
		}
		if job, _, ok := l.next(5 * time.Second); !ok || !job.Refused {
			l.t.Errorf("got %+v, want the demand", job)
		}
		time.Sleep(10 * time.Second)
	})
}

func TestADemandEndsWithTheAttemptItAskedFor(t *testing.T) {
	t.Parallel()
	bubble(t, tokens.Config{Wait: time.Minute}, "", func(l *lane, r refresh.Record, c *http.Client) {
		go func() {
			_, msg, _ := l.next(time.Minute)
			r.Failure = &refresh.Failure{Count: 1, Class: refresh.ClassTransient, At: time.Now()}
			l.tell(l.put(r, access(1)))
			_ = msg.Ack()
		}()
		began := time.Now()
		fetch(l.t, c, http.MethodGet, "http://api.example", nil)
		if took := time.Since(began); took > 5*time.Second {
			l.t.Errorf("waited %s for an attempt that had failed", took)
		}
	})
}

func TestADemandKeepsTheRate(t *testing.T) {
	t.Parallel()
	bubble(t, tokens.Config{Wait: 30 * time.Second}, "6/m", func(l *lane, r refresh.Record, c *http.Client) {
		go fetch(l.t, c, http.MethodGet, "http://api.example", nil)
		_, msg, ok := l.next(time.Minute)
		if !ok || !strings.HasPrefix(msg.Headers().Get("Nats-Msg-Id"), "acme:") {
			l.t.Fatalf("a job came: %v, under no slot", ok)
		}
		first := msg.Headers().Get("Nats-Msg-Id")
		_ = msg.DoubleAck(l.t.Context()) // it asked for too much; the slot is spent
		began := time.Now()
		_, msg, ok = l.next(time.Minute)
		if !ok || msg.Headers().Get("Nats-Msg-Id") == first || time.Since(began) > 11*time.Second {
			l.t.Errorf("the next job came: %v, after %s", ok, time.Since(began))
		}
		time.Sleep(time.Minute)
	})
}

func TestADemandLeavesALaneThatRestsAlone(t *testing.T) {
	t.Parallel()
	bubble(t, tokens.Config{Wait: 10 * time.Second}, "", func(l *lane, r refresh.Record, c *http.Client) {
		until := time.Now().Add(4 * time.Second)
		if _, err := l.js.PauseConsumer(l.t.Context(), l.names.JobsStream(), "acme", until); err != nil {
			l.t.Fatal(err)
		}
		go fetch(l.t, c, http.MethodGet, "http://api.example", nil)
		time.Sleep(3 * time.Second)
		if n := l.asked(); n != 0 {
			l.t.Errorf("%d jobs were queued in a lane that rests", n)
		}
		if _, _, ok := l.next(10 * time.Second); !ok {
			l.t.Error("nothing was asked when the lane moved again")
		}
		time.Sleep(20 * time.Second)
	})
}

func TestWhereNoDemandHelpsNoneIsMade(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *refresh.Record){
		"a person must act": func(r *refresh.Record) { r.State = refresh.StateReauthRequired },
		"paused":            func(r *refresh.Record) { r.Paused = &provider.Pause{By: "operator:ann"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, r, c, res := refused(t, tokens.Config{Wait: patience})
			change(&r)
			l.put(r, access(1))
			began := time.Now()
			if status, _ := fetch(t, client(t, c, "acme/alice", nil), http.MethodGet, res.URL, nil); status != http.StatusUnauthorized {
				t.Errorf("status %d", status)
			}
			if n := l.asked(); n != 0 || time.Since(began) > patience/2 {
				t.Errorf("%d jobs after %s, want none at once", n, time.Since(began))
			}
		})
	}
}

func TestTransportKeepsTheTokenFromOtherHosts(t *testing.T) {
	t.Parallel()
	b, c := setup(t, tokens.Config{})
	b.put(record("alice"), access(1))
	seen := make(chan string, 2)
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer stranger.Close()
	here := http.NewServeMux()
	here.Handle("/away", http.RedirectHandler(stranger.URL, http.StatusTemporaryRedirect))
	here.Handle("/near", http.RedirectHandler("/here", http.StatusFound))
	here.HandleFunc("/here", func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("Authorization") })
	srv := httptest.NewServer(here)
	defer srv.Close()
	h := client(t, c, "acme/alice", nil)
	for path, want := range map[string]string{"/away": "", "/near": "Bearer " + access(1)} {
		fetch(t, h, http.MethodGet, srv.URL+path, nil)
		if got := <-seen; got != want {
			t.Errorf("%s: Authorization %q, want %q", path, got, want)
		}
	}
}

func TestTransportWithoutAToken(t *testing.T) {
	t.Parallel()
	_, c := setup(t, tokens.Config{Wait: 50 * time.Millisecond})
	sent := tripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("it was sent") })
	for id, want := range map[string]error{"acme/nobody": tokens.ErrNotFound, "nonsense": events.ErrName} {
		body := &closed{Reader: strings.NewReader("x")}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api.example", body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Transport(id, sent).RoundTrip(req)
		wantErr(t, err, want)
		if !body.is {
			t.Errorf("%s: the body was left open", id)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example", nil)
	_, err := c.Transport("acme/alice", sent).RoundTrip(req)
	wantErr(t, err, context.Canceled)
}

type closed struct {
	io.Reader
	is bool
}

// Close implements io.Closer.
func (c *closed) Close() error {
	c.is = true
	return nil
}
