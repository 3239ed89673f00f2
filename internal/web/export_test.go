package web

import (
	"crypto/tls"
	"time"

	"github.com/rs/zerolog"
)

// ExpiredLink makes a link that has ended.
func ExpiredLink(s *Server, provider, account string) (string, error) {
	l := newLink(provider, time.Now().Add(-time.Second))
	l.Account = account
	text, err := l.sealed(s.keys.Grant, s.bucket)
	return s.publicURL + "/connect/" + provider + "?link=" + text, err
}

// MarkLife is how long a link that ends so much later is known to have been used.
func MarkLife(left time.Duration) time.Duration {
	now := time.Now()
	return newLink("acme", now.Add(left)).markLife(now)
}

// Address returns how people reach a server, and whether its cookies are for https alone.
func Address(s *Server) (publicURL string, secure bool) { return s.publicURL, s.secure }

// CookieName is what the cookie for a state is called.
func CookieName(s *Server, state string) string { return s.cookieName(state) }

// Certificates returns a function that gives the TLS settings for the next connection to a listener.
func Certificates(l Listener, log zerolog.Logger) (current func() *tls.Config, err error) {
	c, err := l.Certificates(log)
	return func() *tls.Config { now, _ := c.GetConfigForClient(nil); return now }, err
}
