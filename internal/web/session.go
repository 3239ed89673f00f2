package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// sessionLife is how long somebody may take at the provider: a password and a second factor, and no longer than a state
// should live.
const sessionLife = 10 * time.Minute

// session is what is needed when a browser comes back. It lies sealed in the bucket of enrolments, under its state's hash.
type session struct {
	Provider string    `json:"provider"`
	Issuer   string    `json:"issuer"`
	TokenURL string    `json:"token_url"`
	Verifier string    `json:"verifier"`
	Browser  []byte    `json:"browser"` // hash of the cookie's value
	Link     link      `json:"link"`
	Ends     time.Time `json:"ends"`
}

// stateKey is the entry of a state. The state itself is nowhere but in the browser and at the provider.
func stateKey(state string) string {
	sum := sha256.Sum256([]byte(state))
	return "state_" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s *Server) sessionBinding(key string) seal.Binding {
	return seal.Binding{Bucket: s.bucket, Key: key, Field: "session"}
}

// begin stores a session for a browser that is about to leave for the provider.
func (s *Server) begin(ctx context.Context, l link, d *provider.Definition, verifier seal.Secret, state, browser string) error {
	hash := sha256.Sum256([]byte(browser))
	data, err := json.Marshal(session{
		Provider: d.Name, Issuer: d.Issuer, TokenURL: d.TokenURL, Verifier: verifier.Reveal(), Browser: hash[:], Link: l,
		Ends: time.Now().Add(sessionLife),
	})
	if err != nil {
		return err
	}
	key := stateKey(state)
	sealed, err := s.keys.Grant.Seal(data, s.sessionBinding(key))
	if err != nil {
		return err
	}
	if err := s.broker.CreateEnrollment(ctx, key, sealed, sessionLife); err != nil {
		return refuse(reasonNATS, err)
	}
	return nil
}

// resume takes the session of a state, for the browser that began it and no other, once.
func (s *Server) resume(req *http.Request, state string) (session, error) {
	cookie, err := req.Cookie(s.cookieName(state))
	if err != nil {
		return session{}, refuse(reasonBrowser, nil) // and the state stays, for the one whose it is
	}
	key := stateKey(state)
	var v session
	_, err = s.broker.TakeEnrollment(req.Context(), key, func(sealed []byte) (err error) {
		v, err = s.openSession(key, sealed, cookie.Value)
		return err
	})
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return session{}, err
	case errors.Is(err, refresh.ErrNotFound), errors.Is(err, refresh.ErrConflict):
		return session{}, refuse(reasonState, nil)
	case err != nil:
		return session{}, refuse(reasonNATS, err)
	}
	switch {
	case time.Now().After(v.Ends):
		return session{}, refuse(reasonState, nil)
	case v.Provider != req.PathValue("provider"):
		return session{}, refuse(reasonProvider, nil)
	}
	v.Link.Provider = v.Provider
	return v, nil
}

// openSession reads a session for its own browser: from any other it stays, for the one whose it is.
func (s *Server) openSession(key string, sealed []byte, browser string) (session, error) {
	data, err := s.keys.Grant.Open(sealed, s.sessionBinding(key))
	if err != nil {
		return session{}, refuse(reasonKeys, err)
	}
	var v session
	if err := json.Unmarshal(data, &v); err != nil {
		return session{}, refuse(reasonKeys, nil)
	}
	hash := sha256.Sum256([]byte(browser))
	if subtle.ConstantTimeCompare(hash[:], v.Browser) != 1 {
		return session{}, refuse(reasonBrowser, nil)
	}
	return v, nil
}

// consent is the flow of a session.
func (s *Server) consent(d *provider.Definition, verifier seal.Secret) enroll.Consent {
	return enroll.Consent{
		Definition: d, RedirectURI: s.publicURL + "/connect/" + d.Name + "/callback", Verifier: verifier, Exchange: s.exchange,
	}
}

// cookieName is one for each session, so that several run side by side in one browser. Under the prefix __Host- a browser takes the
// cookie from this very host over TLS only, and nobody else can set it (RFC 6265bis section 4.1.3.2).
func (s *Server) cookieName(state string) string {
	sum := sha256.Sum256([]byte("cookie " + state))
	name := "freshet-" + base64.RawURLEncoding.EncodeToString(sum[:9])
	if s.secure {
		return "__Host-" + name
	}
	return name
}

// cookie binds a session to its browser. Lax, because the way back from the provider is a link from another site.
func (s *Server) cookie(state, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{
		Name: s.cookieName(state), Value: value, Path: "/", MaxAge: int(life / time.Second), Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
