package enroll

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"
)

// page is what a browser is shown: a heading and a sentence.
type page struct{ heading, text string }

var pageStray = page{
	"Nothing is waiting for this",
	"This address belongs to a login that has ended, or to none. Start again where you came from. You can close this window.",
}

// writeVerdict shows what came of a login. An error is shown in words of our own: its text is for the terminal.
func writeVerdict(w http.ResponseWriter, label string, err error) {
	if err == nil {
		writePage(w, http.StatusOK, page{"Done", label + " is connected. You can close this window."})
		return
	}
	writePage(w, http.StatusBadGateway, page{"That did not work", reason(err) + " You can close this window."})
}

// reason says in plain words why a login failed.
func reason(err error) string {
	var refused *AuthorizationError
	var exchange *ExchangeError
	switch {
	case errors.Is(err, ErrDeclined):
		return "Access was declined, so nothing was connected."
	case errors.Is(err, ErrMixUp):
		return "The answer came from another provider than the one that was asked, so it was not used."
	case errors.As(err, &refused) && refused.Code != "":
		return "The provider refused: " + refused.Code + "."
	case errors.As(err, &exchange) && exchange.Code != "":
		return "The provider agreed, but then gave no token: " + exchange.Code + "."
	default:
		return "The reason is shown where you started the login."
	}
}

// writePage writes a page that loads nothing, runs nothing, is kept nowhere and leaks its address, which has the code
// in it, to nobody.
func writePage(w http.ResponseWriter, status int, p page) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// A browser that has gone is no concern.
	_, _ = fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Freshet: %[1]s</title>\n<h1>%[1]s</h1>\n<p>%[2]s</p>\n</html>\n",
		html.EscapeString(p.heading), html.EscapeString(p.text))
}

// safeWord returns a provider's error code if it looks like one, else "".
func safeWord(s string) string {
	const maxWord = 64
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r)
	}
	if len(s) > maxWord || strings.ContainsFunc(s, func(r rune) bool { return !ok(r) }) {
		return ""
	}
	return s
}

// safeText cuts a provider's words to 200 bytes of printable ASCII.
func safeText(s string) string {
	const maxText = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxText)]
}
