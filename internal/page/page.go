// Package page writes the small pages on which people see in their browser how a login ended.
//
// # Model
//
// A page is a heading, a sentence and perhaps a note. It is one document: it loads nothing and runs nothing, follows the
// light or dark of the person's system, and reads well in any width, size of letters and without a mouse.
//
// # Invariants
//
// A page is kept nowhere, is shown in no frame, and tells no other site its address, which may have a code in it.
//
// # Concurrency
//
// Plain functions.
package page

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
)

// Page is how something ended.
type Page struct {
	Heading string // of a few words; it is the window's title too
	Text    string // a sentence or two
	Note    string // smaller, below; "": none
	Good    bool   // it worked
}

// Secure sets the headers that every answer of a server that writes pages has.
func Secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash()+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// Write writes a page as the whole answer. The headers of Secure must be set before.
func Write(w http.ResponseWriter, status int, p Page) {
	mark := "bad"
	if p.Good {
		mark = "good"
	}
	note := ""
	if p.Note != "" {
		note = "<p class=\"note\">" + html.EscapeString(p.Note) + "</p>\n"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// A browser that has gone is no concern.
	_, _ = fmt.Fprintf(w, document, html.EscapeString(p.Heading), style, mark, html.EscapeString(p.Text), note)
}

// styleHash is what allows this style and no other (Content Security Policy Level 3 section 2.3.1).
func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

const document = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%[1]s</title>
<style>%[2]s</style>
</head>
<body>
<main class="%[3]s">
<h1>%[1]s</h1>
<p>%[4]s</p>
%[5]s</main>
</body>
</html>
`

// style needs no font, image or script from anywhere. The mark before the heading is drawn, and screen readers pass it over.
const style = `
:root{color-scheme:light dark;--back:#f3f5f7;--card:#fff;--text:#16202b;--soft:#53616f;--line:#d8dee5;--good:#0b7a4b;--bad:#b3421e}
@media (prefers-color-scheme:dark){:root{--back:#10151b;--card:#1a222b;--text:#e8edf2;--soft:#a3b0bd;--line:#2d3843;--good:#4cc38a;--bad:#f0936b}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);color:var(--text);font:1.0625rem/1.55 system-ui,sans-serif}
main{width:100%;max-width:30rem;padding:2rem 2.25rem 1.75rem;background:var(--card);border:1px solid var(--line);border-top:.3rem solid var(--bad);border-radius:.6rem;overflow-wrap:anywhere}
main.good{border-top-color:var(--good)}
h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25}
h1::before{content:"\2715" / "";margin-right:.55rem;color:var(--bad)}
.good h1::before{content:"\2713" / "";color:var(--good)}
p{margin:0}
.note{margin-top:1.25rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.9375rem}
`
