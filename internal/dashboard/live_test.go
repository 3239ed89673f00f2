package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/dashboard"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestListenersHearOfWhatChanges(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	k.awaitRead()
	overview, list := k.listen("/"), k.listen("/credentials?q=alice")
	overview.await("counts", "<b>0</b> <span>in all")
	list.await("list", "No credential matches.")
	r := k.record("alice")
	k.put(r)
	overview.await("counts", "<b>1</b> <span>in all")
	list.await("list", "acme/alice")
	k.tell(events.TokenUpdated, r, nil)
	overview.await("recent", "acme/alice")
	r.State = refresh.StateReauthRequired
	stored, err := k.broker.Get(t.Context(), r.Credential())
	k.must(err)
	_, err = k.broker.Put(t.Context(), refresh.Write{Record: r, Revision: stored.Revision})
	k.must(err)
	overview.await("needs", "acme/alice")
}

// TestManyListenersAreOneSubscriber: NATS does not notice how many browsers there are.
func TestManyListenersAreOneSubscriber(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	k.awaitRead()
	before := k.broker.Conn().NumSubscriptions()
	var all []*stream
	for range 20 {
		s := k.listen("/events")
		s.await("stream", "No event")
		all = append(all, s)
	}
	if after := k.broker.Conn().NumSubscriptions(); after != before {
		t.Errorf("%d subscriptions with 20 listeners, %d with none", after, before)
	}
	k.tell(events.TokenUpdated, k.record("alice"), nil)
	for _, s := range all {
		s.await("stream", "acme/alice")
	}
}

func TestListenersAreBounded(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	for range dashboard.MostListeners {
		k.listen("/events")
	}
	if p := k.get("/live?page=/events"); p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", p.status)
	}
}

// TestTheEndLetsListenersGo: nobody holds up a shutdown.
func TestTheEndLetsListenersGo(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	s := k.listen("/")
	s.await("counts", "in all")
	k.stop()
	for s.lines.Scan() {
	}
	if err := s.lines.Err(); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	k.srv.Close() // returns when no request is under way
	if n := dashboard.Listeners(k.board); n != 0 {
		t.Errorf("%d listeners are left", n)
	}
}

func TestConnectLinks(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	form := url.Values{"name": {"acme/tenant/carol"}}
	p := k.do(http.MethodPost, "/links", form, map[string]string{"Sec-Fetch-Site": "same-origin"})
	if p.status != http.StatusCreated || !strings.Contains(p.body, `value="https://connect.example.com/connect/acme?link=sealed"`) {
		t.Errorf("%d %s", p.status, p.body)
	}
	for name, tt := range map[string]struct {
		method, path string
		form         url.Values
		header       map[string]string
		status       int
	}{
		"another site":             {http.MethodPost, "/links", form, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"another origin, old ways": {http.MethodPost, "/links", form, map[string]string{"Origin": "https://evil.test"}, 403},
		"a lane, another site":     {http.MethodPost, "/lane", url.Values{"provider": {"acme"}, "do": {"pause"}}, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		"an address":               {http.MethodGet, "/links?name=acme/alice", nil, nil, 404},
		"a form in an address":     {http.MethodPost, "/links?name=acme/alice", url.Values{}, nil, 400},
		"no name":                  {http.MethodPost, "/links", url.Values{"name": {"x"}}, nil, 400},
		"nothing to do":            {http.MethodPost, "/lane", url.Values{"provider": {"acme"}}, nil, 404},
		"nobody's lane":            {http.MethodPost, "/lane", url.Values{"provider": {"nosuch"}, "do": {"pause"}}, nil, 404},
	} {
		if p := k.do(tt.method, tt.path, tt.form, tt.header); p.status != tt.status {
			t.Errorf("%s: %d, want %d", name, p.status, tt.status)
		}
	}
	if e, _, err := k.broker.Provider(t.Context(), "acme"); err != nil || e.Pause != nil {
		t.Errorf("somebody else paused the lane: %v %v", e.Pause, err)
	}
}

func TestLanesArePausedAndResumed(t *testing.T) {
	t.Parallel()
	k := newDesk(t, func(c *dashboard.Config) {
		c.Audit = app.AuditLog(c.Broker, "test", "freshet/test", func(err error) { t.Error(err) })
	})
	s := k.listen("/providers")
	s.await("lane-acme", "running")
	p := k.do(http.MethodPost, "/lane", url.Values{"provider": {"acme"}, "do": {"pause"}}, nil)
	if p.status != http.StatusSeeOther || p.header.Get("Location") != "/providers#lane-acme" {
		t.Errorf("%d %v", p.status, p.header)
	}
	s.await("lane-acme", "by operator:test, until somebody resumes it")
	k.do(http.MethodPost, "/lane", url.Values{"provider": {"acme"}, "do": {"resume"}}, nil)
	s.await("lane-acme", "running")
	written := ""
	k.must(audit.Read(t.Context(), k.broker.ReadAudit, k.broker.Names(), audit.Filter{Provider: "acme"},
		func(e audit.Entry) error { written += string(e.Action) + " via " + e.Data.Via + ", "; return nil }, func(err error) { t.Error(err) }))
	if written != "paused via admin, resumed via admin, " {
		t.Errorf("written down: %s", written)
	}
}

// TestWithoutHandsThePagesOnlyShow: what the host does not offer is neither shown nor done.
func TestWithoutHandsThePagesOnlyShow(t *testing.T) {
	t.Parallel()
	k := newDesk(t, func(c *dashboard.Config) { c.Operator, c.Link = "", nil })
	k.put(k.record("alice"))
	k.awaitRead()
	for _, path := range []string{"/", "/providers", "/credential?name=acme/alice"} {
		if p := k.get(path); strings.Contains(p.body, `method="post"`) {
			t.Errorf("%s has a form", path)
		}
	}
	for path, form := range map[string]url.Values{"/links": {"name": {"acme/alice"}}, "/lane": {"provider": {"acme"}, "do": {"pause"}}} {
		if p := k.do(http.MethodPost, path, form, nil); p.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, p.status)
		}
	}
}
