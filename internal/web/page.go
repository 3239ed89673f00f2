package web

import (
	"fmt"
	"html"
	"net/http"
)

// page is what a browser is shown: a heading and a sentence.
type page struct{ heading, text string }

// pageRefused is all that anybody learns who is refused.
var pageRefused = page{
	"Nothing was connected",
	"This link cannot be used, has been used, or the provider was not agreed with. Ask for a new link where you got this one. You can close this window.",
}

// headers make an answer one that loads nothing, runs nothing, is kept nowhere, is shown in no frame, and leaks its address,
// which may have a code in it, to nobody.
func (s *Server) headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if s.secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

func writePage(w http.ResponseWriter, status int, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// A browser that has gone is no concern.
	_, _ = fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"+
		"<title>%[1]s</title>\n<h1>%[1]s</h1>\n<p>%[2]s</p>\n</html>\n", html.EscapeString(p.heading), html.EscapeString(p.text))
}
