package web

import "time"

// ExpiredLink makes a link that has ended.
func ExpiredLink(s *Server, provider, account string) (string, error) {
	l := newLink(provider, time.Now().Add(-time.Second))
	l.Account = account
	text, err := l.sealed(s.keys.Grant, s.bucket)
	return s.publicURL + "/connect/" + provider + "?link=" + text, err
}

// CookieName is what the cookie for a state is called.
func CookieName(s *Server, state string) string { return s.cookieName(state) }
