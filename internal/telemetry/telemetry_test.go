package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// ask asks a handler, as whom edit makes the caller.
func ask(t *testing.T, h http.Handler, url string, edit func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if edit != nil {
		edit(req)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestWhoMayScrape(t *testing.T) {
	t.Parallel()
	tel := telemetry.New("v1")
	tel.Health.Check("disk", func() error { return errors.New("full") })
	open, guarded := tel.Handler(seal.Secret{}), tel.Handler(seal.NewSecret("0123456789abcdef"))
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for name, tt := range map[string]struct {
		h      http.Handler
		url    string
		edit   func(*http.Request)
		status int
		text   string
	}{
		"metrics on this machine":              {open, "http://localhost:9464/metrics", nil, 200, "freshet_build_info"},
		"metrics by another name":              {open, "http://rebound.example/metrics", nil, 403, "loopback names only"},
		"metrics without the token":            {guarded, "http://localhost/metrics", nil, 401, "show the token"},
		"metrics with a wrong token":           {guarded, "http://localhost/metrics", bearer("0123456789abcdeX"), 401, "show the token"},
		"metrics with the token":               {guarded, "http://scrape.example/metrics", bearer("0123456789abcdef"), 200, "go_goroutines"},
		"readiness with the token":             {guarded, "http://x.example/readyz", bearer("0123456789abcdef"), 503, `"error":"full"`},
		"a probe learns no more than the word": {guarded, "http://10.0.0.1/readyz", nil, 503, ""},
		"and that the process lives":           {guarded, "http://10.0.0.1/livez", nil, 200, "ok\n"},
		"nothing else":                         {open, "http://localhost/debug/pprof/", nil, 404, "not found"},
	} {
		w := ask(t, tt.h, tt.url, tt.edit)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.text) || tt.text == "" && w.Body.Len() > 0 {
			t.Errorf("%s: %d %.200q", name, w.Code, w.Body)
		}
	}
}

func TestListenersBeyondLoopbackNeedTLSAndAKey(t *testing.T) {
	t.Parallel()
	token := seal.NewSecret("0123456789abcdef")
	for name, tt := range map[string]struct {
		listener listen.Listener
		token    seal.Secret
		want     []string // in the error; none: it is right
	}{
		"off":                         {},
		"on loopback":                 {listener: listen.Listener{Address: "127.0.0.1:9464"}},
		"on every address":            {listener: listen.Listener{Address: ":9464"}, want: []string{"--metrics-tls-cert", "--metrics-token-file"}},
		"with a token and no TLS":     {listener: listen.Listener{Address: "10.0.0.1:9464"}, token: token, want: []string{"--metrics-tls-cert"}},
		"with TLS and nobody's key":   {listener: listen.Listener{Address: ":9464", CertFile: "c", KeyFile: "k"}, want: []string{"--metrics-token-file"}},
		"with TLS and a token":        {listener: listen.Listener{Address: ":9464", CertFile: "c", KeyFile: "k"}, token: token},
		"with TLS and certificates":   {listener: listen.Listener{Address: ":9464", CertFile: "c", KeyFile: "k", ClientCAFile: "a"}},
		"without a port":              {listener: listen.Listener{Address: "localhost"}, want: []string{"HOST:PORT"}},
		"half a key pair":             {listener: listen.Listener{Address: "localhost:1", CertFile: "c"}, want: []string{"give both or neither"}},
		"certificates and no address": {listener: listen.Listener{CertFile: "c", KeyFile: "k"}, want: []string{"--metrics-listen"}},
	} {
		err := telemetry.Config{Listener: tt.listener, Token: tt.token}.Validate()
		if (err == nil) != (len(tt.want) == 0) {
			t.Errorf("%s: %v", name, err)
		}
		for _, text := range tt.want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v does not name %s", name, err, text)
			}
		}
	}
}

func TestAProcessThatEndsIsNotReadyAndStillAnswers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	at := make(chan string, 1)
	cfg := telemetry.Config{Listener: listen.Listener{Address: "127.0.0.1:0"}, Ready: func(address string) { at <- address }}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status := func(url string) int {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	var url string
	err := telemetry.Run(ctx, cfg, func(ctx context.Context, tel *telemetry.Telemetry) error {
		url = "http://" + <-at
		begun, remove := tel.Health.Starting()
		defer remove()
		if got := status(url + "/readyz"); got != http.StatusServiceUnavailable {
			t.Errorf("before it works: %d", got)
		}
		begun()
		if got := status(url + "/readyz"); got != http.StatusOK {
			t.Errorf("at work: %d", got)
		}
		cancel()
		<-ctx.Done()
		drained := func() bool { return tel.Health.Report().Draining }
		for end := time.Now().Add(10 * time.Second); !drained() && time.Now().Before(end); {
			<-time.After(time.Millisecond)
		}
		if ready, live := status(url+"/readyz"), status(url+"/livez"); ready != http.StatusServiceUnavailable || live != http.StatusOK {
			t.Errorf("while it ends: ready %d, live %d", ready, live)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(url + "/livez"); err == nil {
		t.Error("somebody listens after the end")
	}
}

func TestSeveralPartsOfAProcessAreAddedUp(t *testing.T) {
	t.Parallel()
	tel := telemetry.New("v1")
	hide := tel.Show(telemetry.Source{
		NATS: func() (bool, uint64) { return true, 2 }, Journal: func() journal.Stats { return journal.Stats{Pending: 1, Bytes: 10} },
	})
	tel.Show(telemetry.Source{
		NATS: func() (bool, uint64) { return false, 3 }, Journal: func() journal.Stats { return journal.Stats{Pending: 4, Aside: 1} },
		Held: func() int { return 7 }, InFlight: func() int { return 1 }, Offset: func() time.Duration { return -2 * time.Second },
		Lanes: func() map[string]broker.LaneInfo {
			return map[string]broker.LaneInfo{"acme": {Pending: 5, AckPending: 2, MaxAckPending: 64, Paused: true}}
		},
		Schedule: func() schedule.Stats {
			return schedule.Stats{Live: true, Providers: map[string]schedule.ProviderStats{
				"acme": {Known: true, Due: 9, States: map[refresh.State]int{refresh.StateActive: 3, "": 1}},
			}}
		},
	})
	tel.Show(telemetry.Source{NATS: func() (bool, uint64) { return true, 0 }})
	want := `
# HELP freshet_nats_connected 1 while the connection to NATS stands.
# TYPE freshet_nats_connected gauge
freshet_nats_connected 0
# HELP freshet_nats_reconnects_total How often the connection to NATS was made again.
# TYPE freshet_nats_reconnects_total counter
freshet_nats_reconnects_total 5
# HELP freshet_clock_offset_seconds How far NATS time is ahead of this machine's.
# TYPE freshet_clock_offset_seconds gauge
freshet_clock_offset_seconds -2
# HELP freshet_lane_paused 1 while the lane is paused.
# TYPE freshet_lane_paused gauge
freshet_lane_paused{provider="acme"} 1
# HELP freshet_schedule_due Credentials that are due and wait for room in their lane.
# TYPE freshet_schedule_due gauge
freshet_schedule_due{provider="acme"} 9
# HELP freshet_credentials Credentials by state, as this scheduler sees them; unknown: without readable headers.
# TYPE freshet_credentials gauge
freshet_credentials{provider="acme",state="active"} 3
freshet_credentials{provider="acme",state="reauth_required"} 0
freshet_credentials{provider="acme",state="retrying"} 0
freshet_credentials{provider="acme",state="uncertain"} 0
freshet_credentials{provider="acme",state="unknown"} 1
`
	err := testutil.GatherAndCompare(tel.Gatherer(), strings.NewReader(want), "freshet_nats_connected", "freshet_nats_reconnects_total",
		"freshet_clock_offset_seconds", "freshet_lane_paused", "freshet_schedule_due", "freshet_credentials")
	if err != nil {
		t.Error(err)
	}
	hide()
	after := ask(t, tel.Handler(seal.Secret{}), "http://localhost/metrics", nil).Body.String()
	for _, line := range []string{`freshet_journal_entries{state="pending"} 4`, `freshet_nats_reconnects_total 3`} {
		if !strings.Contains(after, line) {
			t.Errorf("no %s after a part has gone", line)
		}
	}
}

func TestResultsAreCountedByWhatTheyCameTo(t *testing.T) {
	t.Parallel()
	tel := telemetry.New("v1")
	of := func(provider string, r refresh.Result) {
		r.Credential = events.Credential{Provider: provider, Account: "alice"}
		tel.Result(r)
	}
	of("acme", refresh.Result{Class: refresh.ClassOK, Attempt: "a", Before: 1, After: 2, Margin: -time.Second, Exchange: time.Second, Total: time.Second})
	of("acme", refresh.Result{Class: refresh.ClassUnknown, Attempt: "b", Before: 2, After: 2, Margin: time.Minute, Total: time.Second})
	of("acme", refresh.Result{Class: refresh.ClassFresh})
	of("acme", refresh.Result{Class: refresh.ClassFresh, Err: refresh.ErrLateReply})
	page := ask(t, tel.Handler(seal.Secret{}), "http://localhost/metrics", nil).Body.String()
	for _, line := range []string{
		`freshet_refresh_total{outcome="ok",provider="acme"} 1`, `freshet_refresh_total{outcome="unknown",provider="acme"} 1`,
		`freshet_refresh_total{outcome="fresh",provider="acme"} 2`, `freshet_refresh_total{outcome="rejected",provider="acme"} 0`,
		`freshet_refresh_margin_seconds_count{provider="acme"} 1`, `freshet_refresh_margin_seconds_bucket{provider="acme",le="0"} 1`,
		`freshet_refresh_duration_seconds_count{provider="acme"} 2`, `freshet_exchange_duration_seconds_count{provider="acme"} 1`,
		`freshet_late_replies_total 1`,
	} {
		if !strings.Contains(page, line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	tel := telemetry.New("v1")
	for i := range 1200 {
		name := "p" + strings.Repeat("a", i%30) + string(rune('a'+i/30%26)) + string(rune('a'+i/780))
		tel.Taken(name, time.Second)
	}
	n, err := testutil.GatherAndCount(tel.Gatherer(), "freshet_queue_wait_seconds")
	if err != nil || n != 1001 {
		t.Errorf("%d series, %v: want those of 1000 providers and one of the others", n, err)
	}
}

func BenchmarkResult(b *testing.B) {
	tel := telemetry.New("v1")
	r := refresh.Result{
		Credential: events.Credential{Provider: "acme", Account: "alice"}, Class: refresh.ClassOK, Attempt: "a", Before: 1, After: 2,
		Margin: time.Minute, Exchange: time.Second, Total: time.Second,
	}
	e := events.Event{Type: events.TokenUpdated, Data: events.Data{Provider: "acme"}}
	b.ReportAllocs()
	for b.Loop() { // all that one refresh is counted by
		tel.Taken("acme", time.Millisecond)
		tel.Result(r)
		tel.Told(e, time.Millisecond)
	}
}
