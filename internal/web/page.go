package web

import (
	"net/http"

	"github.com/freshetdev/freshet/internal/page"
)

// closeWindow is what there is left to do.
const closeWindow = "You can close this window."

// pageRefused is all that anybody learns who is refused.
func pageRefused() page.Page {
	return page.Page{
		Heading: "Nothing was connected",
		Text:    "This link is not good, was used before, or access was not given. Ask for a new link where you got this one.",
		Note:    closeWindow,
	}
}

// headers make an answer one that loads nothing, runs nothing, is kept nowhere, is shown in no frame, and leaks its address,
// which may have a code in it, to nobody.
func (s *Server) headers(h http.Header) {
	page.Secure(h)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if s.secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}
