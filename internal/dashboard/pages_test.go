package dashboard_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/dashboard"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// furnish makes a credential of every kind, and events of every kind.
func (k *desk) furnish() {
	k.t.Helper()
	healthy := k.record("alice@example.com")
	failing := k.record("bob")
	failing.State, failing.Failure = refresh.StateRetrying, &refresh.Failure{Count: 3, Since: failing.IssuedAt, Class: refresh.ClassThrottled, At: failing.IssuedAt}
	dead := k.record("tenant/carol")
	dead.State, dead.Failure = refresh.StateReauthRequired, &refresh.Failure{Count: 2, Class: refresh.ClassRejected, Code: "invalid_grant", At: dead.IssuedAt}
	held := k.record("dave")
	held.Paused = &provider.Pause{By: "operator:eve", Reason: "moving house"}
	strange := k.record(`<script>alert(1)</script>"'&`)
	for _, r := range []refresh.Record{healthy, failing, dead, held, strange} {
		k.put(r)
	}
	k.tell(events.TokenUpdated, healthy, nil)
	k.tell(events.TokenRefreshFailed, failing, func(d *events.Data) {
		d.Class, d.Code, d.NextAttemptAt = "throttled", "slow_down", time.Now().Add(time.Minute)
	})
	k.tell(events.TokenReauthRequired, dead, func(d *events.Data) { d.Class, d.Code = "rejected", "invalid_grant" })
	k.awaitRead()
	s := k.listen("/events")
	s.await("stream", "token.reauth_required")
	s.resp.Body.Close()
}

// paths are all pages.
func paths() []string {
	return []string{
		"/", "/credentials", "/credentials?q=ALICE%40&state=active&provider=acme", "/credential?name=acme/alice@example.com",
		"/credential?name=acme/tenant/carol", "/providers", "/events", "/events?type=token.updated",
	}
}

func TestPagesSayHowItIs(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	k.furnish()
	for path, want := range map[string][]string{
		"/": {
			"<b>5</b> <span>in all", `<b>1</b> <span><i aria-hidden="true">!</i> needs a person`, "acme/tenant/carol</bdi>", "refreshes due within 1 h",
			"In the last hour 1 renewed, 1 failed and tried again", "0 of 8", "5/s", "slow_down · again in",
		},
		"/credentials":                                     {"acme/alice@example.com", "acme/bob", "throttled × 3", "in 30 min", "&lt;script&gt;alert(1)", `<rect class="fill" width="`},
		"/credentials?q=EXAMPLE.com":                       {"acme/alice@example.com to acme/alice@example.com"},
		"/credentials?state=paused":                        {"acme/dave to acme/dave"},
		"/credentials?state=reauth_required&provider=acme": {"acme/tenant/carol to acme/tenant/carol"},
		"/credentials?q=nobody":                            {"No credential matches."},
		"/credential?name=acme/alice@example.com":          {"7 of generation 1", "read", "It is refreshed by itself.", "token.updated", "Make a connect link", "v7 · scheduled"},
		"/credential?name=acme/tenant/carol":               {"Only a person can help", "2 times: rejected invalid_grant", "token.reauth_required"},
		"/credential?name=acme/dave":                       {"operator:eve: moving house", "freshet resume acme/dave"},
		"/providers":                                       {"login.example.com", "strict", `href="/credentials?provider=acme">5`, "In the last hour 1 renewed", "Pause<span"},
		"/events":                                          {"token.updated", "token.refresh_failed", "freshet/worker/w1"},
	} {
		p := k.get(path)
		for _, text := range want {
			if p.status != http.StatusOK || !strings.Contains(p.body, text) {
				t.Errorf("%s: %d, does not say %q", path, p.status, text)
			}
		}
		if strings.Contains(p.body, "<script>") {
			t.Errorf("%s: a name became part of the page", path)
		}
	}
	if p := k.get("/events?type=token.updated"); strings.Contains(p.body, "slow_down") {
		t.Error("the filter of the events lets others through")
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	for path, status := range map[string]int{
		"/nothing": 404, "/credential?name=acme/nobody": 404, "/credential?name=nonsense": 400, "/credential": 400,
		"/live?page=/nothing": 400, "/live": 400, "/assets/nothing": 404, "/credentials?q=%ff%fe%00": 200, "/credentials?after=zzz": 200,
	} {
		if p := k.get(path); p.status != status {
			t.Errorf("%s: %d, want %d", path, p.status, status)
		}
	}
}

// TestNoTokenIsEverShown: neither token nor what one is sealed in.
func TestNoTokenIsEverShown(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	k.furnish()
	stored, err := k.broker.Get(t.Context(), events.Credential{Provider: "acme", Account: "alice@example.com"})
	k.must(err)
	entry, _, err := k.broker.Provider(t.Context(), "acme")
	k.must(err)
	secrets := []string{canary}
	for _, sealed := range [][]byte{stored.Record.Access, stored.Record.Grant, entry.ClientSecrets[0]} {
		secrets = append(secrets, base64.StdEncoding.EncodeToString(sealed)[8:40], string(sealed[8:24]))
	}
	check := func(what, text string) {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s shows a secret", what)
			}
		}
	}
	for _, path := range paths() {
		check(path, k.get(path).body)
		s := k.listen(path)
		parts := 0
		for s.lines.Scan() && s.lines.Text() != ":" { // which says that all has been said
			check("the stream of "+path, s.lines.Text())
			parts++
		}
		if parts == 0 {
			t.Errorf("the stream of %s says nothing", path)
		}
		s.resp.Body.Close()
	}
}

func TestPagesTrustNobody(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	for _, path := range append(paths(), "/nothing", "/assets/live.js", "/assets/style.css") {
		p := k.get(path)
		if got := p.header.Get("Content-Security-Policy"); got != policy {
			t.Errorf("%s: policy %q", path, got)
		}
		if p.header.Get("X-Content-Type-Options") != "nosniff" || p.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, p.header)
		}
		if inline := regexp.MustCompile(`(?i) style=| on[a-z]+=|<style|<script>|javascript:`).FindString(p.body); strings.HasPrefix(p.body, "<!doctype") && inline != "" {
			t.Errorf("%s has %q, which the policy forbids", path, inline)
		}
	}
}

// TestPagesAreSmall: a full page with everything it loads.
func TestPagesAreSmall(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	var last refresh.Record
	for i := range 120 {
		last = k.record(fmt.Sprintf("user-%03d.of.a.long.name@subdomain.example.com", i))
		k.put(last)
		k.tell(events.TokenUpdated, last, nil)
	}
	k.listen("/events").await("stream", url.QueryEscape(last.Credential().String()))
	k.awaitRead()
	loaded := 0
	for _, name := range []string{"style.css", "live.js", "icon.svg"} {
		p := k.get("/assets/" + name)
		if loaded += len(p.body); p.status != http.StatusOK {
			t.Fatalf("%s: %d", name, p.status)
		}
		if name == "live.js" && len(p.body) >= 8<<10 {
			t.Errorf("the script has %d bytes", len(p.body))
		}
	}
	for _, path := range append(paths(), "/credentials?after="+key(0)) {
		if n := loaded + len(k.get(path).body); n >= 100<<10 {
			t.Errorf("%s: %d bytes with what it loads", path, n)
		}
	}
}

// TestListsComeByPage walks from page to page and meets everybody once.
func TestListsComeByPage(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	const n = 120
	for i := range n {
		k.put(k.record(fmt.Sprintf("user-%03d", i)))
	}
	k.awaitRead()
	link := func(rel, body string) string {
		m := regexp.MustCompile(`href="([^"]+)" rel="` + rel + `"`).FindStringSubmatch(body)
		if m == nil {
			return ""
		}
		return strings.ReplaceAll(m[1], "&amp;", "&")
	}
	var firsts []string // the first name of each page, there and back
	last := ""
	for rel, next := "next", "/credentials?q=user"; next != ""; {
		p := k.get(next)
		names := regexp.MustCompile(`<bdi>(acme/user-\d+)</bdi>`).FindAllStringSubmatch(p.body, -1)
		firsts = append(firsts, names[0][1])
		if next = link(rel, p.body); next == "" && rel == "next" {
			last, rel = names[len(names)-1][1], "prev"
			next = link(rel, p.body)
		}
	}
	want := []string{"acme/user-000", "acme/user-050", "acme/user-100", "acme/user-050", "acme/user-000"}
	if !slices.Equal(firsts, want) || last != "acme/user-119" {
		t.Errorf("pages begin with %v, the last ends with %s", firsts, last)
	}
	// Before the tenth there are nine: it is the first page, and a whole one.
	p := k.get("/credentials?before=" + "acme.user-009")
	if !strings.Contains(p.body, "acme/user-000 to acme/user-049") || link("prev", p.body) != "" || link("next", p.body) == "" {
		t.Errorf("before the tenth: %s", p.body)
	}
}

func TestLanesThatAreOnlyShownSaySo(t *testing.T) {
	t.Parallel()
	const words = "freshet pause PROVIDER"
	for operator, says := range map[string]bool{"": true, "operator:test": false} {
		k := newDesk(t, func(c *dashboard.Config) { c.Operator = operator })
		k.awaitRead()
		if p := k.get("/providers"); strings.Contains(p.body, words) != says || strings.Contains(p.body, `action="/lane"`) == says {
			t.Errorf("operator %q: %s", operator, p.body)
		}
	}
}

func TestRevokedStayAndDeletedGo(t *testing.T) {
	t.Parallel()
	k := newDesk(t, nil)
	gone, revoked := k.record("gone"), k.record("revoked")
	k.put(gone)
	revoked.State = refresh.StateRevoked
	k.put(revoked)
	s := k.listen("/credentials")
	s.await("list", "acme/revoked")
	stored, err := k.broker.Get(t.Context(), gone.Credential())
	k.must(err)
	gone.State = refresh.StateDeleted
	_, err = k.broker.Put(t.Context(), refresh.Write{Record: gone, Revision: stored.Revision})
	k.must(err)
	s.await("list", "acme/revoked to acme/revoked")
}

// TestContrast computes what WCAG 2.2 asks of text (1.4.3) and of what has to be seen to be used (1.4.11), light and dark.
func TestContrast(t *testing.T) {
	t.Parallel()
	css, err := os.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, _ := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	for scheme, text := range map[string]string{"light": light, "dark": dark[:strings.Index(dark, "\n}")]} {
		colours := dashboard.Colours(text)
		if len(colours) < 20 {
			t.Fatalf("%s: %v", scheme, colours)
		}
		for pair, least := range map[[2]string]float64{
			{"ink", "page"}: 7, {"ink", "card"}: 7, {"soft", "page"}: 4.5, {"soft", "card"}: 4.5, {"soft", "plain-back"}: 4.5, {"link", "card"}: 4.5,
			{"link", "page"}: 4.5, {"ink", "plain-back"}: 4.5, {"ok", "ok-back"}: 4.5, {"warn", "warn-back"}: 4.5, {"bad", "bad-back"}: 4.5,
			{"ok", "card"}: 4.5, {"warn", "card"}: 4.5, {"bad", "card"}: 4.5, {"main-ink", "main"}: 4.5, {"focus", "card"}: 3, {"focus", "page"}: 3,
			{"bar-ok", "card"}: 3, {"bar-bad", "card"}: 3, {"ink", "track"}: 3,
		} {
			if got := dashboard.Contrast(colours[pair[0]], colours[pair[1]]); got < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", scheme, pair[0], pair[1], got, least)
			}
		}
	}
}
