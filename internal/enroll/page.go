package enroll

import (
	"errors"
	"net/http"
	"strings"

	"github.com/freshetdev/freshet/internal/page"
)

// closeWindow is what there is left to do.
const closeWindow = "You can close this window."

// writeStray answers what no login waits for.
func writeStray(w http.ResponseWriter) {
	writePage(w, http.StatusBadRequest, page.Page{
		Heading: "Nothing is waiting for this",
		Text:    "This address belongs to a login that has ended, or to none. Start again where you came from.",
		Note:    closeWindow,
	})
}

// writeVerdict shows what came of a login. An error is shown in words of our own: its text is for the terminal.
func writeVerdict(w http.ResponseWriter, label string, err error) {
	if err == nil {
		writePage(w, http.StatusOK, page.Page{Heading: "Connected", Text: label + " is connected.", Note: closeWindow, Good: true})
		return
	}
	writePage(w, http.StatusBadGateway, page.Page{Heading: "That did not work", Text: reason(err), Note: closeWindow})
}

func writePage(w http.ResponseWriter, status int, p page.Page) {
	page.Secure(w.Header())
	page.Write(w, status, p)
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
