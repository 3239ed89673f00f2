package interop_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/freshetdev/freshet/interop/chromium"
)

// board is the dashboard of a freshet dev, and a browser.
type board struct {
	dev     *process
	at      string
	browser context.Context
	env     []string // of commands that reach it
}

func newBoard(t *testing.T, args ...string) board {
	t.Helper()
	dir := t.TempDir()
	env := []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	b := board{dev: start(t, env, append([]string{"dev"}, args...)...), env: env}
	line := b.dev.awaitMatch(t, `^  Dashboard +http://`)
	b.at = line[strings.Index(line, "http://"):]
	source := b.dev.awaitMatch(t, `^    source /`)
	text, err := os.ReadFile(strings.TrimPrefix(source, "    source "))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)='(.*)'$`).FindAllStringSubmatch(string(text), -1) {
		b.env = append(b.env, m[1]+"="+m[2])
	}
	b.browser = chromium.Start(t)
	return b
}

// freshet types a command.
func (b board) freshet(t *testing.T, args ...string) {
	t.Helper()
	start(t, b.env, args...).ended(t)
}

// boardPaths are the pages.
func boardPaths() []string {
	return []string{"/", "/credentials", "/credentials?q=user-03", "/credential?name=demo/user-03", "/providers", "/events"}
}

// TestDashboard: the pages in a real browser.
func TestDashboard(t *testing.T) {
	t.Parallel()
	b := newBoard(t, "--credentials", "12", "--lifetime", "15s")
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 360} {
			t.Run(fmt.Sprintf("%s, %d wide", scheme, width), func(t *testing.T) { b.looks(t, scheme, width) })
		}
	}
	t.Run("live", b.lives)
	t.Run("without scripts", b.standsStill)
	t.Run("by keyboard", b.keys)
	t.Run("a connect link", b.connects)
	t.Run("a lane is paused", b.pauses)
}

// looks opens every page and finds nothing wrong with it.
func (b board) looks(t *testing.T, scheme string, width int64) {
	tab := chromium.Tab(t, b.browser)
	do(t, tab, chromedp.EmulateViewport(width, 900))
	if scheme == "dark" {
		if err := chromium.Dark(tab); err != nil {
			t.Fatal(err)
		}
	}
	complaints := listen(t, tab)
	for _, path := range boardPaths() {
		do(t, tab, chromedp.Navigate(b.at+path))
		until(t, tab, `document.getElementById("live-state").textContent === "Live"`)
		for _, fault := range value[[]string](t, tab, pageFaults) {
			t.Errorf("%s: %s", path, fault)
		}
		if got := value[int64](t, tab, `document.documentElement.scrollWidth`); got > width {
			t.Errorf("%s: %d wide in a window of %d", path, got, width)
		}
		dark := value[bool](t, tab, `matchMedia("(prefers-color-scheme: dark)").matches`)
		if back := value[string](t, tab, `getComputedStyle(document.body).backgroundColor`); dark != (scheme == "dark") || back != map[string]string{"light": "rgb(246, 248, 249)", "dark": "rgb(14, 21, 25)"}[scheme] {
			t.Errorf("%s: %s in the %s", path, back, scheme)
		}
	}
	keep(t, tab, fmt.Sprintf("%s-%d.png", scheme, width))
	for _, text := range complaints() {
		t.Error(text)
	}
}

// listen notes what the browser complains of: of the policy, of scripts that fail, of what cannot be loaded.
func listen(t *testing.T, tab context.Context) (complaints func() []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(tab)
	messages := chromedp.Console(ctx)
	heard := make(chan []string, 1)
	go func() {
		var all []string
		for m, err := range messages {
			if err != nil {
				break
			}
			all = append(all, m.String())
		}
		heard <- all
	}()
	return func() []string { cancel(); return <-heard }
}

// value is what an expression comes to.
func value[T any](t *testing.T, tab context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to become true with some change of the page. chromedp's own way makes functions of texts, which
// the pages' policy forbids.
func until(t *testing.T, tab context.Context, expression string) {
	t.Helper()
	_, err := chromedp.Run(tab, chromedp.Evaluate[bool](`new Promise(done => {
		const over = () => Boolean(`+expression+`);
		if (over()) return done(true);
		const watch = new MutationObserver(() => { if (over()) { watch.disconnect(); done(true); } });
		watch.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
	})`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
}

// pageFaults are what can be told by a program of what WCAG 2.2 asks at level AA.
const pageFaults = `(() => {
	const faults = [], say = (text, e) => faults.push(text + (e ? ": " + e.outerHTML.slice(0, 120) : ""));
	const name = e => (e.getAttribute("aria-label") || e.textContent || e.value || [...e.querySelectorAll("img")].map(i => i.alt).join("") || "").trim();
	if (!document.documentElement.lang) say("no language");
	if (!document.title) say("no title");
	for (const tag of ["main", "header", "nav", "h1"]) if (document.querySelectorAll(tag).length < 1) say("no " + tag);
	if (document.querySelectorAll("h1, main").length !== 2) say("more than one h1 or main");
	const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
	for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) say("id twice: " + id);
	for (const e of document.querySelectorAll("[aria-labelledby]")) if (!document.getElementById(e.getAttribute("aria-labelledby"))) say("label is missing", e);
	for (const e of document.querySelectorAll("a[href], button")) if (!name(e)) say("no name", e);
	for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) say("no alternative", e);
	for (const e of document.querySelectorAll("svg")) if (!(e.getAttribute("aria-hidden") === "true" || e.getAttribute("role") === "img" && e.getAttribute("aria-label"))) say("no alternative", e);
	for (const e of document.querySelectorAll("input:not([type=hidden]), select")) if (!e.labels.length) say("no label", e);
	for (const e of document.querySelectorAll("th")) if (!e.scope) say("no scope", e);
	for (const e of document.querySelectorAll("section[aria-labelledby]")) if (!e.querySelector("h2")) say("no heading", e);
	for (const e of document.querySelectorAll("button, .tile a, nav a")) { const r = e.getBoundingClientRect(); if (r.width && (r.height < 24 || r.width < 24)) say("too small to hit", e); }

	// Contrast of every text with the colour behind it.
	const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
	const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
	const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const e = texts.currentNode.parentElement;
		if (!texts.currentNode.textContent.trim() || e.closest("script, noscript, title, option") || !e.getClientRects().length) continue;
		const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e).slice(0, 3));
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) say("contrast " + ratio.toFixed(2), e);
	}
	return faults;
})()`

// lives: what happens is there without another request of the page, and the focus stays where it was.
func (b board) lives(t *testing.T) {
	tab := chromium.Tab(t, b.browser)
	do(t, tab, chromedp.Navigate(b.at+"/"))
	until(t, tab, `document.getElementById("live-state").textContent === "Live"`)
	value[bool](t, tab, `window.same = true; document.querySelector("#lanes th a").focus(); window.lane = document.querySelector("#lanes th a"); true`)
	first := value[string](t, tab, `window.row = document.querySelector("#recent tbody").textContent`)
	until(t, tab, `document.querySelector("#recent tbody").textContent !== window.row`)
	if first == "" || !value[bool](t, tab, `window.same === true`) {
		t.Error("the page was loaded again")
	}
	b.freshet(t, "pause", "demo/user-01")
	until(t, tab, `/^1\s+Ⅱ paused/.test(document.querySelector('#counts a[href$="state=paused"]').textContent)`)
	b.freshet(t, "pause", "demo")
	until(t, tab, `document.querySelector("#lanes").textContent.includes("paused")`)
	if !value[bool](t, tab, `document.activeElement === window.lane && window.lane.isConnected`) {
		t.Error("the focus was lost when the part was replaced")
	}
	b.freshet(t, "resume", "demo")
	b.freshet(t, "resume", "demo/user-01")
	do(t, tab, chromedp.Click(chromedp.CSS("#live-toggle")))
	if got := value[string](t, tab, `document.getElementById("live-state").textContent`); got != "Paused" {
		t.Errorf("paused updates are called %q", got)
	}
}

// standsStill: everything is there without scripts, and the forms work.
func (b board) standsStill(t *testing.T) {
	tab := chromium.Tab(t, b.browser)
	if err := chromium.NoScripts(tab); err != nil {
		t.Fatal(err)
	}
	do(t, tab, chromedp.Navigate(b.at+"/credentials"), chromedp.SendKeys(chromedp.CSS("input[name=q]"), "USER-07"+kb.Enter),
		chromedp.WaitVisible(chromedp.CSS(`input[name=q][value="USER-07"]`)))
	text := read(t, tab)
	if !strings.Contains(text, "demo/user-07") || strings.Contains(text, "demo/user-08") || !strings.Contains(text, "Reload to update") {
		t.Errorf("without scripts the page says %s", text)
	}
	keep(t, tab, "still.png")
}

// keys: everything can be reached by keyboard, and one sees where one is.
func (b board) keys(t *testing.T) {
	tab := chromium.Tab(t, b.browser)
	do(t, tab, chromedp.Navigate(b.at+"/credentials"))
	until(t, tab, `document.getElementById("live-state").textContent === "Live"`)
	do(t, tab, chromedp.KeyEvent(kb.Tab))
	if got := value[string](t, tab, `document.activeElement.textContent`); got != "Skip to content" {
		t.Errorf("first comes %q", got)
	}
	reached := make(map[string]bool)
	for range 60 {
		do(t, tab, chromedp.KeyEvent(kb.Tab))
		seen := value[bool](t, tab, `(() => { const s = getComputedStyle(document.activeElement); return document.activeElement === document.body || s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; })()`)
		what := value[string](t, tab, `document.activeElement.name || document.activeElement.id || document.activeElement.textContent.trim() || document.activeElement.tagName`)
		if !seen {
			t.Errorf("nobody sees that %q has the focus", what)
		}
		reached[what] = true
	}
	for _, what := range []string{"Overview", "Providers", "live-toggle", "q", "provider", "state", "Filter", "demo/user-01", "demo/user-12"} {
		if !reached[what] {
			t.Errorf("%q cannot be reached: %v", what, reached)
		}
	}
	do(t, tab, chromedp.Navigate(b.at+"/credentials"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	until(t, tab, `document.activeElement === document.getElementById("main")`)
}

// connects: a link is made with one button and opens.
func (b board) connects(t *testing.T) {
	tab := chromium.Tab(t, b.browser)
	complaints := listen(t, tab)
	do(t, tab, chromedp.Navigate(b.at+"/credential?name=demo/user-05"), chromedp.Click(chromedp.CSS("#connect")), chromedp.WaitVisible(chromedp.CSS("#address")))
	link := value[string](t, tab, `document.getElementById("address").value`)
	if !strings.HasPrefix(link, b.at+"/connect/demo?link=") {
		t.Fatalf("the link is %s", link)
	}
	keep(t, tab, "link.png")
	if text := look(t, tab, link); !strings.Contains(text, "demo/user-05 is connected") {
		t.Errorf("the link leads to %s", text)
	}
	for _, text := range complaints() {
		t.Error(text)
	}
}

// pauses: a lane is paused with one button, and runs again with another.
func (b board) pauses(t *testing.T) {
	tab := chromium.Tab(t, b.browser)
	do(t, tab, chromedp.Navigate(b.at+"/providers"), chromedp.Click(chromedp.CSS("#do-demo[value=pause]")), chromedp.WaitVisible(chromedp.CSS("#do-demo[value=resume]")))
	if text := read(t, tab); !strings.Contains(text, "by operator:dashboard, until somebody resumes it") {
		t.Errorf("the page says %s", text)
	}
	keep(t, tab, "paused.png")
	do(t, tab, chromedp.Click(chromedp.CSS("#do-demo[value=resume]")), chromedp.WaitVisible(chromedp.CSS("#do-demo[value=pause]")))
}
