package web_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// come goes all the way, and returns what is shown in the end.
func (c *town) come(link, name string) shown {
	c.t.Helper()
	b := c.browser()
	return c.get(b, c.agree(b, c.leave(b, link), name))
}

func TestConnect(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, who, account string }{
		"an account":                              {forAlice, "alice", "alice"},
		"an account of a tenant":                  {`{"provider":"acme","account":"t-1/alice"}`, "alice", "t-1/alice"},
		"an account that the provider names":      {`{"provider":"acme"}`, "bob", "id-of-bob"},
		"an account of our own, and a subject":    {`{"provider":"acme","account":"user-17","identity":"id-of-alice"}`, "alice", "user-17"},
		"an account of our own, and a pinned one": {`{"provider":"acme","account":"user-17","identity":"sub:id-of-alice"}`, "alice", "user-17"},
		"an account of our own, for anybody":      {`{"provider":"acme","account":"user-17","identity":"*"}`, "bob", "user-17"},
		"with a lifetime":                         {`{"provider":"acme","account":"alice","expires_in":60}`, "alice", "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTown(t)
			s := c.come(c.link(tt.body), tt.who)
			if s.status != http.StatusOK || !strings.Contains(s.body, "acme/"+tt.account+" is connected") {
				t.Fatalf("%d %s\n%s", s.status, s.body, c.logged.String())
			}
			stored, err := c.broker.Get(t.Context(), events.Credential{Provider: "acme", Account: tt.account})
			c.must(err)
			g, err := c.keys.OpenGrant(&stored.Record)
			c.must(err)
			if lost := c.acme.Lost(map[string]string{tt.who: g.RefreshToken.Reveal()}); len(lost) > 0 {
				t.Errorf("what is stored is not what lives at the provider: %v", lost)
			}
		})
	}
}

func TestConnectingAgain(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	alice := events.Credential{Provider: "acme", Account: "alice"}
	c.come(c.link(forAlice), "alice")
	s, err := c.broker.Get(t.Context(), alice)
	c.must(err)
	s.Record.State = refresh.StateReauthRequired
	_, err = c.broker.Put(t.Context(), refresh.Write{Record: s.Record, Revision: s.Revision})
	c.must(err)
	c.come(c.link(forAlice), "alice")
	again, err := c.broker.Get(t.Context(), alice)
	c.must(err)
	if r := again.Record; r.Generation != 2 || r.Version != s.Record.Version+1 || r.State != refresh.StateActive {
		t.Errorf("generation %d, version %d, %s", r.Generation, r.Version, r.State)
	}
}

func TestAnUnnamedLinkReplacesNobodyElse(t *testing.T) {
	t.Parallel()
	const unnamed = `{"provider":"acme"}`
	for name, tt := range map[string]struct {
		first, who string // what was there, and who had agreed to it
		generation uint64 // afterwards, when bob came with a link that names nobody
	}{
		"the same person": {unnamed, "bob", 2},
		"somebody else":   {`{"provider":"acme","account":"id-of-bob","identity":"*"}`, "alice", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTown(t)
			c.come(c.link(tt.first), tt.who)
			c.come(c.link(unnamed), "bob")
			if g := c.generation("id-of-bob"); g != tt.generation {
				t.Errorf("generation %d, want %d\n%s", g, tt.generation, c.logged.String())
			}
		})
	}
}

func TestAnUnnamedLinkTouchesNoRecordOfUnknownOrigin(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	bob := events.Credential{Provider: "acme", Account: "id-of-bob"}
	c.come(c.link(`{"provider":"acme"}`), "bob")
	s, err := c.broker.Get(t.Context(), bob)
	c.must(err)
	s.Record.Subject = "" // as an import leaves it
	_, err = c.broker.Put(t.Context(), refresh.Write{Record: s.Record, Revision: s.Revision})
	c.must(err)
	if s := c.come(c.link(`{"provider":"acme"}`), "bob"); s.status != http.StatusBadRequest || !strings.Contains(c.logged.String(), "perhaps somebody else's") {
		t.Errorf("%d\n%s", s.status, c.logged.String())
	}
	_, err = c.writer.Tombstone(t.Context(), bob, refresh.StateRevoked)
	c.must(err)
	if s := c.come(c.link(`{"provider":"acme"}`), "bob"); s.status != http.StatusOK {
		t.Errorf("a withdrawn one: %d\n%s", s.status, c.logged.String())
	}
}

// TestARefusedGrantLeavesTheLinkGood: nothing was stored, so the person can try again when the cause is gone, and then no more.
func TestARefusedGrantLeavesTheLinkGood(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	bob := events.Credential{Provider: "acme", Account: "id-of-bob"}
	c.come(c.link(`{"provider":"acme","account":"id-of-bob","identity":"*"}`), "alice")
	link := c.link(`{"provider":"acme"}`)
	if s := c.come(link, "bob"); s.status != http.StatusBadRequest {
		t.Fatalf("somebody else's account: %d", s.status)
	}
	_, err := c.writer.Tombstone(t.Context(), bob, refresh.StateRevoked)
	c.must(err)
	if s := c.come(link, "bob"); s.status != http.StatusOK {
		t.Fatalf("the same link: %d %s", s.status, s.body)
	}
	if s := c.get(c.browser(), link); s.status == http.StatusOK || c.generation("id-of-bob") != 2 {
		t.Errorf("a link that was used: %d, generation %d", s.status, c.generation("id-of-bob"))
	}
}

func TestReturn(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	s := c.come(c.link(`{"provider":"acme","account":"alice","return_url":"https://app.example.com/done?x=1"}`), "alice")
	if s.status != http.StatusSeeOther || s.location != "https://app.example.com/done?x=1" || s.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%d %s", s.status, s.location)
	}
}

func TestSessionsSideBySide(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	b := c.browser()
	first, second := c.leave(b, c.link(forAlice)), c.leave(b, c.link(`{"provider":"acme","account":"bob"}`))
	for name, at := range map[string]string{"bob": second, "alice": first} {
		if s := c.get(b, c.agree(b, at, name)); s.status != http.StatusOK {
			t.Errorf("%s: %d", name, s.status)
		}
	}
}

func TestOneLinkManyAtOnce(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	link := c.link(forAlice)
	const many = 10
	var backs [many]string
	browsers := make([]*http.Client, many)
	for i := range many {
		browsers[i] = c.browser()
		backs[i] = c.agree(browsers[i], c.leave(browsers[i], link), "alice")
	}
	var worked atomic.Int32
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			resp, err := browsers[i].Get(backs[i])
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				worked.Add(1)
			}
		})
	}
	all.Wait()
	if g := c.generation("alice"); worked.Load() != 1 || g != 1 {
		t.Errorf("%d worked, generation %d", worked.Load(), g)
	}
}

// TestNothingIsGivenAway: what a session lives by is in no page and no log, and in the provider's address only what belongs there.
func TestNothingIsGivenAway(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	b := c.browser()
	link := c.link(forAlice)
	leaving := c.get(b, link)
	back := c.agree(b, leaving.location, "alice")
	shown := c.get(b, back)
	c.get(b, back) // refused, and logged
	s, err := c.broker.Get(t.Context(), events.Credential{Provider: "acme", Account: "alice"})
	g, err2 := c.keys.OpenGrant(&s.Record)
	a, err3 := c.keys.OpenAccess(&s.Record)
	c.must(errors.Join(err, err2, err3))
	for name, secret := range map[string]string{
		"code": param(back, "code"), "state": param(back, "state"), "link": param(link, "link"),
		"refresh token": g.RefreshToken.Reveal(), "access token": a.Reveal(),
	} {
		if secret == "" {
			t.Errorf("there is no %s", name)
		}
		if strings.Contains(shown.body+c.logged.String(), secret) {
			t.Errorf("the %s is in a page or the log", name)
		}
	}
	cookie := leaving.header.Get("Set-Cookie")
	for _, want := range []string{"__Host-freshet-", "Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=600"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q has no %s", cookie, want)
		}
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		"Strict-Transport-Security": "max-age=", "Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY",
	} {
		if !strings.HasPrefix(shown.header.Get(name), want) || !strings.HasPrefix(leaving.header.Get(name), want) {
			t.Errorf("%s = %q", name, shown.header.Get(name))
		}
	}
	for _, name := range []string{"state", "code_challenge", "redirect_uri"} {
		if param(leaving.location, name) == "" {
			t.Errorf("the provider's address has no %s", name)
		}
	}
}
