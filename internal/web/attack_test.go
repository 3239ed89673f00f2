package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/web"
	"github.com/freshetdev/freshet/pkg/provider"
)

// TestAttacks: each ends at the same page as an address that is nothing, and nothing more is stored than was before.
func TestAttacks(t *testing.T) {
	t.Parallel()
	attacks := map[string]func(c *town) shown{
		"forged state": func(c *town) shown {
			b := c.browser()
			back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
			return c.get(b, edited(back, "state", strings.Repeat("x", 43)))
		},
		"forged state with a cookie for it": func(c *town) shown {
			b := c.browser()
			back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
			forged := strings.Repeat("x", 43)
			u, err := url.Parse(back)
			c.must(err)
			b.Jar.SetCookies(u, []*http.Cookie{{Name: web.CookieName(c.servers[0], forged), Value: forged, Secure: true, Path: "/"}})
			return c.get(b, edited(back, "state", forged))
		},
		"no state": func(c *town) shown {
			b := c.browser()
			return c.get(b, edited(c.agree(b, c.leave(b, c.link(forAlice)), "alice"), "state", ""))
		},
		"two states": func(c *town) shown {
			b := c.browser()
			back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
			return c.get(b, back+"&state="+param(back, "state"))
		},
		"code injection": func(c *town) shown {
			thief, victim := c.browser(), c.browser()
			code := param(c.agree(thief, c.leave(thief, c.link(`{"provider":"acme","account":"mallory"}`)), "mallory"), "code")
			back := c.agree(victim, c.leave(victim, c.link(forAlice)), "alice")
			return c.get(victim, edited(back, "code", code))
		},
		"stolen code in the thief's own session": func(c *town) shown {
			thief, victim := c.browser(), c.browser()
			code := param(c.agree(victim, c.leave(victim, c.link(forAlice)), "alice"), "code")
			back := c.agree(thief, c.leave(thief, c.link(forAlice)), "mallory")
			return c.get(thief, edited(back, "code", code))
		},
		"mix-up, the answer names the other issuer": func(c *town) shown {
			b := c.browser()
			return c.get(b, edited(c.agree(b, c.leave(b, c.link(forAlice)), "alice"), "iss", c.evilURL))
		},
		"mix-up, the answer names no issuer": func(c *town) shown {
			b := c.browser()
			return c.get(b, edited(c.agree(b, c.leave(b, c.link(forAlice)), "alice"), "iss", ""))
		},
		"mix-up, a hostile server sends the browser on to the honest one": func(c *town) shown {
			b := c.browser()
			hostile := c.leave(b, c.link(`{"provider":"evil","account":"alice"}`))
			there := strings.Replace(hostile, c.evilURL, c.acmeURL, 1)
			there = edited(there, "redirect_uri", c.public.URL+"/connect/acme/callback")
			return c.get(b, c.agree(b, there, "alice")) // acme's code, with evil's state
		},
		"mix-up, the honest server's answer is carried to the hostile one's address": func(c *town) shown {
			b := c.browser()
			back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
			return c.get(b, strings.Replace(back, "/connect/acme/", "/connect/evil/", 1))
		},
		"mix-up, a hostile server answers with the honest one's code": func(c *town) shown {
			b := c.browser()
			hostile := c.leave(b, c.link(`{"provider":"evil","account":"alice"}`))
			honest := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
			back := edited(strings.Replace(honest, "/connect/acme/", "/connect/evil/", 1), "state", param(hostile, "state"))
			return c.get(b, back)
		},
		"mix-up, a hostile server answers in its own name with the honest one's code": func(c *town) shown {
			b := c.browser()
			hostile := c.leave(b, c.link(`{"provider":"evil","account":"alice"}`))
			honest := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
			back := edited(strings.Replace(honest, "/connect/acme/", "/connect/evil/", 1), "state", param(hostile, "state"))
			return c.get(b, edited(back, "iss", c.evilURL)) // the code is bound to a verifier that never goes there
		},
		"login swap": func(c *town) shown {
			b := c.browser()
			return c.get(b, c.agree(b, c.leave(b, c.link(forAlice)), "mallory"))
		},
		"login swap under an identity": func(c *town) shown {
			b := c.browser()
			l := c.link(`{"provider":"acme","account":"user-17","identity":"id-of-alice"}`)
			return c.get(b, c.agree(b, c.leave(b, l), "mallory"))
		},
		"login swap by a username that is the subject": func(c *town) shown {
			b := c.browser()
			l := c.link(`{"provider":"acme","account":"user-17","identity":"sub:id-of-alice"}`)
			return c.get(b, c.agree(b, c.leave(b, l), "id-of-alice"))
		},
		"another browser": func(c *town) shown {
			b := c.browser()
			return c.get(c.browser(), c.agree(b, c.leave(b, c.link(forAlice)), "alice"))
		},
		"another browser with a cookie of its own making": func(c *town) shown {
			b, thief := c.browser(), c.browser()
			at := c.leave(b, c.link(forAlice))
			back := c.agree(b, at, "alice")
			req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, back, nil)
			c.must(err)
			for _, cookie := range b.Jar.Cookies(req.URL) {
				thief.Jar.SetCookies(req.URL, []*http.Cookie{{Name: cookie.Name, Value: strings.Repeat("x", 43), Secure: true, Path: "/"}})
			}
			return c.get(thief, back)
		},
		"declined": func(c *town) shown {
			b := c.browser()
			back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
			return c.get(b, edited(edited(back, "code", ""), "error", "access_denied"))
		},
		"an error in the provider's words": func(c *town) shown {
			b := c.browser()
			back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
			return c.get(b, edited(edited(back, "error", "invalid_scope"), "error_description", "<script>alert(1)</script>"))
		},
		"a link that has ended": func(c *town) shown {
			l, err := web.ExpiredLink(c.servers[0], "acme", "alice")
			c.must(err)
			return c.get(c.browser(), l)
		},
		"a link with a byte changed": func(c *town) shown {
			l := c.link(forAlice)
			return c.get(c.browser(), l[:len(l)-2]+"AA")
		},
		"a link of another provider": func(c *town) shown {
			return c.get(c.browser(), strings.Replace(c.link(forAlice), "/connect/acme", "/connect/evil", 1))
		},
		"no link":               func(c *town) shown { return c.get(c.browser(), c.public.URL+"/connect/acme") },
		"a provider's bad name": func(c *town) shown { return c.get(c.browser(), c.public.URL+"/connect/No%20Name?link=x") },
		"open redirect in the link": func(c *town) shown {
			return c.get(c.browser(), c.public.URL+"/connect/acme?link=x&return_url=https://evil.test")
		},
		"open redirect in the way back": func(c *town) shown {
			return c.get(c.browser(), c.public.URL+"/connect/acme/callback?state=x&code=y&return_url=https://evil.test")
		},
		"open redirect in the path": func(c *town) shown { return c.get(c.browser(), c.public.URL+"//evil.test/%2e%2e") },
		"a path that could be cleaned": func(c *town) shown {
			return c.get(c.browser(), strings.Replace(c.link(forAlice), "/connect/", "/connect//", 1))
		},
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTown(t)
			neutral := c.get(c.browser(), c.public.URL+"/nothing")
			c.wantNeutral(attack(c), neutral)
			if n := c.credentials(); n != 0 {
				t.Errorf("%d credentials are stored", n)
			}
			if strings.Contains(name, "mix-up") && c.stolen.Load() > 0 && !strings.Contains(name, "in its own name") {
				t.Error("the hostile server was given a code")
			}
			if why := reasons()[name]; why == "" || !strings.Contains(c.logged.String(), why) {
				t.Errorf("the log does not say %q:\n%s", why, c.logged.String())
			}
		})
	}
}

// reasons are the words of the log, so that no attack fails for another reason than the one it is about.
func reasons() map[string]string {
	const (
		browser, mixUp, noLink = "the browser that came back is not", "the answer names another issuer", "the link cannot be read"
		swap, code, path       = "somebody else agreed", "does not take the code", "to another provider's address"
		page                   = "nothing is at this address"
	)
	return map[string]string{
		"forged state": browser, "forged state with a cookie for it": "no session waits",
		"no state": "the answer has no state", "two states": "the answer has no state",
		"code injection": code, "stolen code in the thief's own session": code,
		"mix-up, the answer names the other issuer": mixUp, "mix-up, the answer names no issuer": mixUp,
		"mix-up, a hostile server sends the browser on to the honest one":             path,
		"mix-up, the honest server's answer is carried to the hostile one's address":  path,
		"mix-up, a hostile server answers with the honest one's code":                 mixUp,
		"mix-up, a hostile server answers in its own name with the honest one's code": "gave no tokens",
		"login swap": swap, "login swap under an identity": swap, "login swap by a username that is the subject": swap,
		"another browser": browser, "another browser with a cookie of its own making": browser,
		"declined": "declined", "an error in the provider's words": "refuses what it was asked",
		"a link that has ended": "the link has ended", "a link with a byte changed": noLink, "a link of another provider": noLink,
		"no link": noLink, "a provider's bad name": noLink, "open redirect in the link": noLink,
		"open redirect in the way back": browser, "open redirect in the path": page, "a path that could be cleaned": page,
	}
}

// wantNeutral: whoever is refused learns nothing from how.
func (c *town) wantNeutral(got, want shown) {
	c.t.Helper()
	if got.status != want.status || got.body != want.body || got.location != "" || got.status != http.StatusBadRequest {
		c.t.Errorf("%d %q\n%s", got.status, got.location, got.body)
	}
	for name := range want.header {
		if name != "Date" && got.header.Get(name) != want.header.Get(name) {
			c.t.Errorf("%s = %q, want %q", name, got.header.Get(name), want.header.Get(name))
		}
	}
}

func TestReplays(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	neutral := c.get(c.browser(), c.public.URL+"/nothing")
	link, b := c.link(forAlice), c.browser()
	twin := c.leave(b, link) // the same link, opened in another window
	back := c.agree(b, c.leave(b, link), "alice")
	if s := c.get(b, back); s.status != http.StatusOK {
		t.Fatalf("%d %s\n%s", s.status, s.body, c.logged.String())
	}
	c.wantNeutral(c.get(b, back), neutral)                      // the state
	c.wantNeutral(c.get(b, link), neutral)                      // the link
	c.wantNeutral(c.get(c.browser(), link), neutral)            // elsewhere
	c.wantNeutral(c.get(b, c.agree(b, twin, "alice")), neutral) // a session that the link began before
	if g := c.generation("alice"); g != 1 || c.credentials() != 1 {
		t.Errorf("generation %d, %d credentials", g, c.credentials())
	}
}

// TestALinkIsUsedUpBeyondItsEnd: whoever opened it twice just before its end has two sessions, which live for ten minutes more.
func TestALinkIsUsedUpBeyondItsEnd(t *testing.T) {
	t.Parallel()
	for _, left := range []time.Duration{-10 * time.Minute, -time.Second, 0, time.Second, time.Hour} {
		if got, last := web.MarkLife(left), max(0, left)+11*time.Minute; got <= last {
			t.Errorf("used %s before its end, the link is good again after %s", left, got)
		}
	}
}

func TestAStrangerUsesNothingUp(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	b := c.browser()
	back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
	if s := c.get(c.browser(), back); s.status != http.StatusBadRequest {
		t.Errorf("another browser: %d", s.status)
	}
	u, err := url.Parse(back)
	c.must(err)
	stranger := c.browser() // with a cookie of its own making
	stranger.Jar.SetCookies(u, []*http.Cookie{{Name: web.CookieName(c.servers[0], param(back, "state")), Value: "x", Secure: true, Path: "/"}})
	if s := c.get(stranger, back); s.status != http.StatusBadRequest {
		t.Errorf("another browser, with a cookie: %d", s.status)
	}
	head, err := b.Head(back)
	c.must(err)
	head.Body.Close()
	if s := c.get(b, back); s.status != http.StatusOK {
		t.Errorf("the right one: %d\n%s", s.status, c.logged.String())
	}
}

func TestAProviderThatMovedMeanwhile(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	b := c.browser()
	back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
	c.apply("acme", c.evilURL)
	if s := c.get(b, back); s.status != http.StatusBadRequest || c.stolen.Load() != 0 {
		t.Errorf("%d, and %d codes went elsewhere", s.status, c.stolen.Load())
	}
}

func TestAProviderThatDoesNotSayWhoAgreed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		link string
		want int
	}{
		"a link for an account":  {forAlice, http.StatusOK}, // nobody can know better
		"a link for an identity": {`{"provider":"acme","account":"user-17","identity":"sub:id-of-alice"}`, http.StatusBadRequest},
		"a link for anybody":     {`{"provider":"acme","account":"user-17","identity":"*"}`, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTown(t)
			c.applyWith("acme", c.serve(authserver.New(authserver.Config{Clients: []authserver.Client{{
				ID: "dev", Secret: "dev-secret", RedirectURIs: []string{c.public.URL + "/connect/acme/callback"},
			}}})), func(*provider.Definition) {})
			if s := c.come(c.link(tt.link), "alice"); s.status != tt.want {
				t.Errorf("%d %s\n%s", s.status, s.body, c.logged.String())
			}
		})
	}
}

func TestAProviderThatCannotSayWhoAgreed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		link string
		want int
	}{
		"a link for somebody": {forAlice, http.StatusBadRequest},
		"a link for anybody":  {`{"provider":"acme","account":"user-17","identity":"*"}`, http.StatusOK},
		"no account":          {`{"provider":"acme"}`, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTown(t)
			plain := authserver.New(authserver.Config{Clients: []authserver.Client{{
				ID: "dev", Secret: "dev-secret", RedirectURIs: []string{c.public.URL + "/connect/acme/callback"},
			}}})
			at := c.serve(plain)
			c.applyWith("acme", at, func(d *provider.Definition) { d.UserinfoURL = at + "/nothing" })
			if s := c.come(c.link(tt.link), "alice"); s.status != tt.want {
				t.Errorf("%d %s\n%s", s.status, s.body, c.logged.String())
			}
		})
	}
}

// TestAHammeredLinkShutsOutNobodyElse: and those who were on their way come back.
func TestAHammeredLinkShutsOutNobodyElse(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	link := c.link(forAlice)
	b := c.browser()
	left := c.leave(b, link)
	begun := 1
	for range 30 {
		if c.get(c.browser(), link).status == http.StatusSeeOther {
			begun++
		}
	}
	if begun != 16 || !strings.Contains(c.logged.String(), "hammering") {
		t.Errorf("%d sessions of one link\n%s", begun, c.logged.String())
	}
	if s := c.come(c.link(`{"provider":"acme","account":"bob"}`), "bob"); s.status != http.StatusOK {
		t.Errorf("another link: %d", s.status)
	}
	if s := c.get(b, c.agree(b, left, "alice")); s.status != http.StatusOK {
		t.Errorf("who was on the way: %d\n%s", s.status, c.logged.String())
	}
}

// TestAStateOfAnotherSessionInItsPlace: the place alone opens nothing.
func TestAStateOfAnotherSessionInItsPlace(t *testing.T) {
	t.Parallel()
	c := newTown(t)
	b := c.browser()
	back := c.agree(b, c.leave(b, c.link(forAlice)), "alice")
	state := param(back, "state")
	forged := strings.Repeat("x", 43) + state[strings.IndexByte(state, '.'):]
	u, err := url.Parse(back)
	c.must(err)
	for _, cookie := range b.Jar.Cookies(u) {
		b.Jar.SetCookies(u, []*http.Cookie{{Name: web.CookieName(c.servers[0], forged), Value: cookie.Value, Secure: true, Path: "/"}})
	}
	if s := c.get(b, strings.Replace(back, url.QueryEscape(state), url.QueryEscape(forged), 1)); s.status != http.StatusBadRequest {
		t.Errorf("a forged state: %d", s.status)
	}
	if !strings.Contains(c.logged.String(), "no session waits") {
		t.Error(c.logged.String())
	}
	if s := c.get(b, back); s.status != http.StatusOK {
		t.Errorf("its own state afterwards: %d\n%s", s.status, c.logged.String())
	}
}
