package chromium_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/freshetdev/freshet/interop/chromium"
)

// TestTabsAreOfDifferentPeople: each has cookies of its own, and shows pages.
func TestTabsAreOfDifferentPeople(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if c, err := r.Cookie("who"); err == nil {
			who = c.Value
		} else if name := r.URL.Query().Get("who"); name != "" {
			who = name
			http.SetCookie(w, &http.Cookie{Name: "who", Value: name})
		}
		fmt.Fprintf(w, "<!doctype html><title>who</title><h1>%s</h1>", who)
	}))
	t.Cleanup(srv.Close)
	browser := chromium.Start(t)
	alice, bob := chromium.Tab(t, browser), chromium.Tab(t, browser)
	first, again, other := see(t, alice, srv.URL+"?who=alice"), see(t, alice, srv.URL), see(t, bob, srv.URL)
	if first != "alice" || again != "alice" || other != "nobody" {
		t.Errorf("one person sees %q, then %q; another sees %q", first, again, other)
	}
	file := filepath.Join(t.TempDir(), "page.png")
	if err := chromium.Screenshot(alice, file); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Errorf("no screenshot: %v", err)
	}
}

// see opens an address and reads the heading.
func see(t *testing.T, tab context.Context, address string) string {
	t.Helper()
	if err := chromedp.Do(tab, chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
	heading, err := chromedp.Run(tab, chromedp.Text(chromedp.CSS("h1")))
	if err != nil {
		t.Fatal(err)
	}
	return heading
}
