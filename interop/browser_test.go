package interop_test

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/freshetdev/freshet/interop/chromium"
)

// pages are a freshet web and a browser.
type pages struct {
	oidcWorld
	admin   string // the address of its admin listener
	browser context.Context
}

// oidcBrowser: a person opens a link in a real browser and agrees at the server's own pages, with scripts and without.
func oidcBrowser(t *testing.T, w oidcWorld) {
	web := start(t, w.env, "web", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	var started struct{ Admin string }
	line := web.awaitMatch(t, "web started")
	if err := json.Unmarshal([]byte(line), &started); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	p := pages{w, "http://" + started.Admin, chromium.Start(t)}
	t.Run("the account is the person's username", func(t *testing.T) {
		if page := named(t, "cleo").visit(t, p.link(t, "hour", "cleo.name")); !strings.Contains(page, "hour/cleo.name is connected") {
			t.Errorf("in the end the page says %s", page)
		}
	})
	t.Run("somebody else agrees", func(t *testing.T) {
		if page := named(t, "eve").visit(t, p.link(t, "hour", "fay.name")); !strings.Contains(page, "Nothing was connected") {
			t.Errorf("in the end the page says %s", page)
		}
	})
	t.Run("with scripts", func(t *testing.T) { p.connect(t, "ada", chromium.Tab(t, p.browser)) })
	t.Run("without scripts, in the dark", func(t *testing.T) {
		tab := chromium.Tab(t, p.browser)
		if err := chromium.NoScripts(tab); err != nil {
			t.Fatal(err)
		}
		if err := chromium.Dark(tab); err != nil {
			t.Fatal(err)
		}
		p.connect(t, "bea", tab)
	})
}

// connect goes all the way with a link, and then tries the link once more.
func (p pages) connect(t *testing.T, name string, tab context.Context) {
	link := p.link(t, "hour", name)
	shown, at := p.agree(t, tab, link)
	if !strings.Contains(shown, "Connected") || !strings.Contains(shown, "hour/"+name+" is connected.") {
		t.Errorf("in the end the page says %q", shown)
	}
	keep(t, tab, name+"-connected.png")
	token := p.must(t, "token", "hour/"+name)
	if subject := p.whoHas(t, token); subject != name {
		t.Errorf("the token is of %q", subject)
	}
	for _, secret := range []string{token, p.of(t, token).issued} {
		if secret == "" || strings.Contains(shown, secret) || strings.Contains(at, secret) {
			t.Errorf("no token may be in the page or its address, %s", at)
		}
	}
	if shown := look(t, tab, link); !strings.Contains(shown, "Nothing was connected") || strings.Contains(shown, name) {
		t.Errorf("a link that was used shows %q", shown)
	}
	keep(t, tab, name+"-used.png")
}

// agree opens a link, logs in at the server, agrees, and returns the last page's text and address.
func (p pages) agree(t *testing.T, tab context.Context, link string) (shown, at string) {
	t.Helper()
	do(t, tab,
		chromedp.Navigate(link),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), "x"), // the name is there already, by the link's hint
		chromedp.Click(chromedp.CSS("button[type=submit]")),
		chromedp.WaitReady(chromedp.CSS("input[name=prompt][value=consent]")),
		chromedp.Click(chromedp.CSS("button[type=submit]")),
		chromedp.WaitVisible(chromedp.CSS("main h1")),
	)
	at, err := chromedp.Run(tab, chromedp.Location())
	if err != nil {
		t.Fatal(err)
	}
	return read(t, tab), at
}

// link asks for a connect link, as a program does.
func (p pages) link(t *testing.T, provider, account string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"provider": provider, "account": account})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(p.admin+"/v1/connect-links", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct{ URL string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("asking for a link: %s %v", resp.Status, err)
	}
	return made.URL
}

// look opens a page and reads it.
func look(t *testing.T, tab context.Context, address string) string {
	t.Helper()
	do(t, tab, chromedp.Navigate(address))
	return read(t, tab)
}

// read returns the text that a tab shows.
func read(t *testing.T, tab context.Context) string {
	t.Helper()
	text, err := chromedp.Run(tab, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func do(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(tab, steps...); err != nil {
		t.Fatal(err)
	}
}

// keep takes a picture of the tab; go test -artifacts keeps it.
func keep(t *testing.T, tab context.Context, name string) {
	t.Helper()
	if err := chromium.Screenshot(tab, filepath.Join(t.ArtifactDir(), name)); err != nil {
		t.Error(err)
	}
}
