package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	signInPath = "/sign-in"
	// SignOutPath is where a form posts to that ends a browser's session on the admin listener.
	SignOutPath = "/sign-out"
	// signedInFor is how long a browser need not show the token again: a working day.
	signedInFor = 12 * time.Hour
	// maxSignIn bounds the form.
	maxSignIn = 4 << 10
)

// adminCookie is what a session's cookie is called. __Host- keeps every other host from setting it, and wants TLS; without TLS the
// listener is on loopback.
func adminCookie(req *http.Request) string {
	if req.TLS != nil {
		return "__Host-freshet-admin"
	}
	return "freshet-admin"
}

// ticket is a cookie's value: when the session ends, and a proof that somebody showed the token. Every instance with that token
// takes it, none keeps it, and another token ends all sessions.
func (s *Server) ticket(ends time.Time) string {
	until := strconv.FormatInt(ends.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(s.token.Reveal()))
	_, _ = mac.Write([]byte("freshet admin session " + until)) // never fails
	return until + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// signedIn reports whether a browser has shown the token.
func (s *Server) signedIn(req *http.Request, now time.Time) bool {
	cookie, err := req.Cookie(adminCookie(req))
	if err != nil {
		return false
	}
	until, _, _ := strings.Cut(cookie.Value, ".")
	unix, err := strconv.ParseInt(until, 10, 64)
	ends := time.Unix(unix, 0)
	return err == nil && now.Before(ends) && hmac.Equal([]byte(cookie.Value), []byte(s.ticket(ends)))
}

func (s *Server) session(req *http.Request, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: adminCookie(req), Value: value, Path: "/", MaxAge: int(life / time.Second), Secure: req.TLS != nil, HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	}
	if life <= 0 {
		c.MaxAge = -1
	}
	return c
}

// refuseBrowser sends a browser to where it can show the token, and tells everything else to.
func (s *Server) refuseBrowser(w http.ResponseWriter, req *http.Request) {
	if s.dashboard != nil && req.Method == http.MethodGet && strings.Contains(req.Header.Get("Accept"), "text/html") {
		w.Header().Set("Location", signInPath)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	s.refuseProgram(w, req)
}

func (s *Server) showSignIn(w http.ResponseWriter, _ *http.Request) {
	s.writeSignIn(w, http.StatusOK, "The token is in the file that --admin-token-file names.")
}

// signIn takes the token of a form and gives a cookie for it.
func (s *Server) signIn(w http.ResponseWriter, req *http.Request) {
	req.Body = http.MaxBytesReader(w, req.Body, maxSignIn)
	shown := strings.TrimSpace(req.PostFormValue("token"))
	if !s.token.Equal(seal.NewSecret(shown)) {
		s.logRefusal(req, &refusal{reason: reasonAdminToken})
		s.writeSignIn(w, http.StatusUnauthorized, "That is not the token.")
		return
	}
	http.SetCookie(w, s.session(req, s.ticket(time.Now().Add(signedInFor)), signedInFor))
	w.Header().Set("Location", "/")
	w.WriteHeader(http.StatusSeeOther)
}

func (s *Server) signOut(w http.ResponseWriter, req *http.Request) {
	http.SetCookie(w, s.session(req, "", 0))
	w.Header().Set("Location", signInPath)
	w.WriteHeader(http.StatusSeeOther)
}

// writeSignIn shows the form, in the dashboard's style.
func (s *Server) writeSignIn(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "same-origin") // with none at all browsers leave the origin out of forms
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, signInPage, text) // a browser that has gone is no concern
}

const signInPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Sign in · Freshet</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml"><link rel="stylesheet" href="/assets/style.css"></head>
<body><main><section class="part sign-in"><h1>Freshet</h1>
<form method="post" action="/sign-in"><p role="status">%s</p>
<label>Admin token<input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button class="main">Sign in</button></form></section></main></body></html>
`
