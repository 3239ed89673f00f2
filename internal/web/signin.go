package web

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
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

// The names of a session's cookie. __Host- keeps every other host from setting it, and wants https; without that the listener is on
// loopback.
const (
	secureCookie = "__Host-freshet-admin"
	plainCookie  = "freshet-admin"
)

// byHTTPS reports whether the browser that posts a form came by https: to us, or to a proxy before us, of which the origin tells.
func byHTTPS(req *http.Request) bool {
	return req.TLS != nil || strings.HasPrefix(req.Header.Get("Origin"), "https://")
}

// ticket is a cookie's value: when the session ends, what tells it from others, and a proof that somebody showed the token. Every
// instance with that token takes it, none keeps it, and another token ends all sessions.
func (s *Server) ticket(ends time.Time, id string) string {
	until := strconv.FormatInt(ends.Unix(), 10) + "." + id
	mac := hmac.New(sha256.New, []byte(s.token.Reveal()))
	_, _ = mac.Write([]byte("freshet admin session " + until)) // never fails
	return until + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// signedIn returns the session of a browser that has shown the token; nil: it has none, or none any more.
func (s *Server) signedIn(req *http.Request, now time.Time) context.Context {
	for _, name := range []string{secureCookie, plainCookie} {
		cookie, err := req.Cookie(name)
		if err != nil || name == plainCookie && req.TLS != nil {
			continue
		}
		parts := strings.SplitN(cookie.Value, ".", 3)
		if len(parts) != 3 {
			continue
		}
		unix, err := strconv.ParseInt(parts[0], 10, 64)
		ends := time.Unix(unix, 0)
		if err == nil && now.Before(ends) && hmac.Equal([]byte(cookie.Value), []byte(s.ticket(ends, parts[1]))) {
			return s.sessions.of(cookie.Value, ends, now)
		}
	}
	return nil
}

// adminSessions are the sessions that this process has seen. Each is a context that ends with it, at its time or when somebody signs
// out here, so that what is still being sent ends too. mu guards the map, which only those grow who have shown the token.
type adminSessions struct {
	mu   sync.Mutex
	seen map[string]adminSession // by ticket
}

type adminSession struct {
	over context.Context
	end  context.CancelFunc
	ends time.Time
}

// of returns the session of a ticket that was checked; nil: it is over.
func (a *adminSessions) of(ticket string, ends, now time.Time) context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.seen[ticket]
	if !ok {
		maps.DeleteFunc(a.seen, func(_ string, s adminSession) bool { return now.After(s.ends) })
		if a.seen == nil {
			a.seen = make(map[string]adminSession)
		}
		s.ends = ends
		s.over, s.end = context.WithDeadline(context.Background(), ends)
		a.seen[ticket] = s
	}
	if s.over.Err() != nil {
		return nil
	}
	return s.over
}

// end ends the sessions of a request's cookies.
func (a *adminSessions) end(req *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range req.Cookies() {
		if s, ok := a.seen[c.Value]; ok {
			s.end()
		}
	}
}

// close ends all.
func (a *adminSessions) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.seen {
		s.end()
	}
}

// within serves a request until its session is over.
func within(session context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(session, cancel)()
		next.ServeHTTP(w, req.WithContext(ctx))
	})
}

func sessionCookie(secure bool, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: plainCookie, Value: value, Path: "/", MaxAge: int(life / time.Second), Secure: secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	if secure {
		c.Name = secureCookie
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
	http.SetCookie(w, sessionCookie(byHTTPS(req), s.ticket(time.Now().Add(signedInFor), rand.Text()), signedInFor))
	w.Header().Set("Location", "/")
	w.WriteHeader(http.StatusSeeOther)
}

// signOut ends a browser's session. Where several instances serve, the others learn of it no more than that the cookie is gone.
func (s *Server) signOut(w http.ResponseWriter, req *http.Request) {
	s.signedIn(req, time.Now()) // one that this process has not seen is ended as well
	s.sessions.end(req)
	http.SetCookie(w, sessionCookie(byHTTPS(req), "", 0))
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
