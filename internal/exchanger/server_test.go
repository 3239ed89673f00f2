package exchanger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/exchanger"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startExchanger()
	tests := map[string]func(*exchanger.Config){
		"same state directory": func(c *exchanger.Config) { c.Socket += "2" },
		"same socket":          func(c *exchanger.Config) { c.StateDir += "2" },
	}
	for name, change := range tests {
		cfg := w.config()
		change(&cfg)
		if _, err := exchanger.Open(t.Context(), cfg); !errors.Is(err, exchanger.ErrInUse) {
			t.Errorf("%s: %v, want ErrInUse", name, err)
		}
	}
	w.letThrough()
	w.wantAnswer(w.client().Exchange(t.Context(), w.request("a1", w.token("alice"))))
}

func TestAStaleSocketIsReplacedAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startExchanger().kill()
	if _, err := os.Lstat(w.socket); err != nil {
		t.Fatalf("the kill left no socket: %v", err)
	}
	_, stop := w.serve(w.config())
	info, err := os.Lstat(w.socket)
	w.must(err)
	if got := info.Mode(); got != os.ModeSocket|0o600 {
		t.Errorf("socket has mode %v", got)
	}
	stop()
	w.must(os.WriteFile(w.socket, []byte("precious"), 0o600))
	if _, err := exchanger.Open(t.Context(), w.config()); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file that is no socket: %v", err)
	}
	if data, err := os.ReadFile(w.socket); string(data) != "precious" {
		t.Errorf("the file was touched: %q, %v", data, err)
	}
}

func TestConfigReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := exchanger.Open(t.Context(), exchanger.Config{MaxInFlight: -1})
	for _, want := range []string{"no socket", "no state directory", "no grant keyset", "nothing to make requests", "MaxInFlight"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q in it", err, want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"unix:///run/x.sock": "/run/x.sock", "unix:/run/x.sock": "/run/x.sock", "unix://x.sock": "x.sock",
		"": "", "unix://": "", "tcp://127.0.0.1:1": "", "/run/x.sock": "",
	} {
		if got, err := exchanger.ParseAddress(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", address, got, err, want)
		}
	}
}

// raw speaks to the socket as no client of ours does.
func (w *world) raw(method, path string, body []byte) (code int, answer string) {
	w.t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.socket)
	}}
	req, err := http.NewRequest(method, "http://x"+path, bytes.NewReader(body))
	w.must(err)
	resp, err := (&http.Client{Transport: tr}).Do(req)
	w.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	w.must(err)
	return resp.StatusCode, string(data)
}

func TestOddRequestsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.serve(w.config())
	good := func(change func(*exchanger.Call)) []byte {
		c := exchanger.NewCall(w.request("a1", "rt-canary"), s.StoreID(), exchanger.Now())
		change(&c)
		body, err := json.Marshal(c)
		w.must(err)
		return body
	}
	now := exchanger.Now()
	tests := map[string]struct {
		path string
		body []byte
		want string
	}{
		"not JSON":       {"/v1/attempts/a1", []byte("rt-canary"), "bad"},
		"too large":      {"/v1/attempts/a1", append([]byte(`{"store":"`), bytes.Repeat([]byte("x"), 512<<10)...), "bad"},
		"other id":       {"/v1/attempts/a2", good(func(*exchanger.Call) {}), "bad"},
		"odd id":         {"/v1/attempts/a.b", good(func(c *exchanger.Call) { c.Ticket.Attempt = "a.b" }), "bad"},
		"no key":         {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Ticket.Key = "" }), "bad"},
		"negative":       {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Latest.Boot = -1 }), "bad"},
		"far ahead":      {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Deadline = exchanger.Plus(now, time.Hour) }), "bad"},
		"foreign":        {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Store = "x" }), "foreign"},
		"late":           {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Latest = now }), "late"},
		"late by wall":   {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Latest.Wall = now.Wall }), "late"},
		"late by boot":   {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Latest.Boot = now.Boot }), "late"},
		"earlier boot":   {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Deadline.BootID = "x" }), "stale"},
		"long over":      {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Deadline = exchanger.Plus(now, -exchanger.KeepKnown) }), "stale"},
		"clocks apart":   {"/v1/attempts/a1", good(func(c *exchanger.Call) { c.Deadline.Wall += int64(time.Minute) }), "clocks"},
		"acknowledgment": {"/v1/acknowledged", []byte("{"), "bad"},
	}
	for name, tt := range tests {
		code, answer := w.raw(http.MethodPost, tt.path, tt.body)
		if code < 400 || !strings.Contains(answer, `"refused":"`+tt.want+`"`) || strings.Contains(answer, "rt-canary") {
			t.Errorf("%s: %d %s, want %q", name, code, answer, tt.want)
		}
	}
	if code, answer := w.raw(http.MethodGet, "/v1/held?wait=2h", nil); code != http.StatusBadRequest {
		t.Errorf("long wait: %d %s", code, answer)
	}
	w.wantPosts(0)
}

func TestIdsAreForgottenWhenTheyCannotBeSentAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.serve(w.config())
	w.letThrough()
	c := w.client()
	for _, id := range []string{"a1", "a2"} {
		w.wantAnswer(c.Exchange(t.Context(), w.request(id, w.token(id))))
	}
	c.Acknowledge("a1")
	c.Close()
	want := func(when string, attempts, entries int) {
		t.Helper()
		if a, e := s.Known(); a != attempts || e != entries {
			t.Errorf("%s: %d attempts and %d entries, want %d and %d", when, a, e, attempts, entries)
		}
	}
	want("at first", 2, 3)
	s.ExpireAt(exchanger.Plus(exchanger.Now(), 30*time.Second))
	want("after the deadline", 2, 3)
	s.ExpireAt(exchanger.Plus(exchanger.Now(), 30*time.Second+exchanger.KeepKnown))
	want("a while after the deadline", 1, 2) // the one that nobody has acknowledged stays
}

func TestMoments(t *testing.T) {
	t.Parallel()
	m := exchanger.Moment{Wall: 1000, Boot: 500, BootID: "b"}
	tests := map[string]struct {
		now    exchanger.Moment
		left   time.Duration
		passed bool
	}{
		"both ahead":         {exchanger.Moment{Wall: 900, Boot: 400, BootID: "b"}, 100, false},
		"the wall was set":   {exchanger.Moment{Wall: 2000, Boot: 400, BootID: "b"}, -1000, false},
		"the wall went back": {exchanger.Moment{Wall: 100, Boot: 600, BootID: "b"}, -100, true},
		"now":                {exchanger.Moment{Wall: 1000, Boot: 500, BootID: "b"}, 0, true},
		"after a reboot":     {exchanger.Moment{Wall: 900, Boot: 1, BootID: "c"}, -1 << 63, true},
	}
	for name, tt := range tests {
		if left, passed := exchanger.Left(m, tt.now), exchanger.Passed(m, tt.now); left != tt.left || passed != tt.passed {
			t.Errorf("%s: left %d, passed %v; want %d, %v", name, left, passed, tt.left, tt.passed)
		}
	}
	a, b := exchanger.Now(), exchanger.Now()
	if runtime.GOOS == "linux" && a.BootID == "" || b.Boot < a.Boot || b.BootID != a.BootID {
		t.Errorf("the clocks say %+v and then %+v", a, b)
	}
}

func TestNoFileDescriptorIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	w.letThrough()
	cfg := w.config()
	round := func() {
		s, stop := w.serve(cfg)
		c := exchanger.NewClient(exchanger.ClientConfig{Socket: w.socket, Keys: w.keys})
		for range 5 {
			id := refresh.NewAttemptID()
			w.wantAnswer(c.Exchange(t.Context(), w.request(id, w.token(id))))
			c.Acknowledge(id)
		}
		c.Close()
		if s.Held() != 0 || s.InFlight() != 0 {
			t.Errorf("%d held, %d in flight", s.Held(), s.InFlight())
		}
		stop()
	}
	round()
	before := openFiles(t)
	for range 5 {
		round()
	}
	if after := openFiles(t); after > before+5 { // connections to the provider may stay idle
		t.Errorf("%d files open, %d before", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
