package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// sessionLife is how long somebody may take at the provider: a password and a second factor, and no longer than a state
// should live.
const sessionLife = 10 * time.Minute

// maxSessions is how many sessions of one link there are at once, those included that ended within the last hour: enough for a person
// with several browsers and for the previews of mail programs, and so few that nobody fills the bucket with a link.
const maxSessions = 16

// session is what is needed when a browser comes back. It lies sealed in the bucket of enrolments, in one of its link's places.
type session struct {
	Provider string    `json:"provider"`
	Issuer   string    `json:"issuer"`
	TokenURL string    `json:"token_url"`
	Verifier string    `json:"verifier"`
	State    []byte    `json:"state"`   // hash of the state
	Browser  []byte    `json:"browser"` // hash of the cookie's value
	Link     link      `json:"link"`
	Ends     time.Time `json:"ends"`
}

// A state is a secret, the link's ID and the session's place. It is nowhere but in the browser and at the provider.
func stateOf(secret, linkID string, place int) string {
	return secret + "." + linkID + "." + strconv.Itoa(place)
}

// linkIDs are what rand.Text makes.
var linkIDs = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// stateKey is the entry where a state's session is. Anybody can make a state up.
func stateKey(state string) (key string, ok bool) {
	parts := strings.Split(state, ".")
	if len(parts) != 3 || !linkIDs.MatchString(parts[1]) {
		return "", false
	}
	place, err := strconv.Atoi(parts[2])
	return "session_" + parts[1] + "_" + strconv.Itoa(place), err == nil && place >= 0 && place < maxSessions
}

func (s *Server) sessionBinding(key string) seal.Binding {
	return seal.Binding{Bucket: s.bucket, Key: key, Field: "session"}
}

// begin stores a session for a browser that is about to leave for the provider, and returns its state.
func (s *Server) begin(ctx context.Context, l link, d *provider.Definition, verifier seal.Secret, browser string) (state string, err error) {
	secret, first := enroll.NewState(), mathrand.IntN(maxSessions)
	for i := range maxSessions {
		state = stateOf(secret, l.ID, (first+i)%maxSessions)
		err = s.store(ctx, state, session{
			Provider: d.Name, Issuer: d.Issuer, TokenURL: d.TokenURL, Verifier: verifier.Reveal(), State: hashOf(state), Browser: hashOf(browser), Link: l,
			Ends: time.Now().Add(sessionLife),
		})
		if !errors.Is(err, refresh.ErrConflict) {
			break
		}
	}
	switch {
	case errors.Is(err, refresh.ErrConflict):
		return "", refuse(reasonCrowded, nil)
	case err != nil:
		return "", refuse(reasonNATS, err)
	}
	return state, nil
}

// store writes a session into its place. Error: refresh.ErrConflict where another one is there.
func (s *Server) store(ctx context.Context, state string, v session) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	key, _ := stateKey(state) // it is one of ours
	sealed, err := s.keys.Grant.Seal(data, s.sessionBinding(key))
	if err != nil {
		return err
	}
	return s.broker.CreateEnrollment(ctx, key, sealed, sessionLife)
}

func hashOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// resume takes the session of a state, for the browser that began it and no other, once.
func (s *Server) resume(req *http.Request, state string) (session, error) {
	cookie, err := req.Cookie(s.cookieName(state))
	if err != nil {
		return session{}, refuse(reasonBrowser, nil) // and the state stays, for the one whose it is
	}
	key, ok := stateKey(state)
	if !ok {
		return session{}, refuse(reasonState, nil)
	}
	var v session
	_, err = s.broker.TakeEnrollment(req.Context(), key, func(sealed []byte) (err error) {
		v, err = s.openSession(key, sealed, state, cookie.Value)
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

// openSession reads a session for its own state and browser: from any other it stays, for the one whose it is.
func (s *Server) openSession(key string, sealed []byte, state, browser string) (session, error) {
	data, err := s.keys.Grant.Open(sealed, s.sessionBinding(key))
	if err != nil {
		return session{}, refuse(reasonKeys, err)
	}
	var v session
	if err := json.Unmarshal(data, &v); err != nil {
		return session{}, refuse(reasonKeys, nil)
	}
	switch {
	case subtle.ConstantTimeCompare(hashOf(state), v.State) != 1:
		return session{}, refuse(reasonState, nil)
	case subtle.ConstantTimeCompare(hashOf(browser), v.Browser) != 1:
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
