package authserver

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// defaultAccount is who approves when the request does not say.
const defaultAccount = "user"

// pendingCode is an authorization code that was not redeemed yet.
type pendingCode struct {
	client    *client
	account   *account
	redirect  string
	challenge string
	scopes    []string
	nonce     string // for the ID token
	expires   time.Time
}

// codes holds the codes in circulation, by the id of the family that each will
// found. queue has them by age, so that stale ones are found without a search.
type codes struct {
	mu    sync.Mutex
	open  map[uint64]pendingCode
	queue []uint64
}

// put files a code and drops those that have expired.
func (c *codes) put(id uint64, p pendingCode, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 {
		old, ok := c.open[c.queue[0]]
		if ok && now.Before(old.expires) {
			break
		}
		delete(c.open, c.queue[0])
		c.queue = c.queue[1:]
	}
	c.open[id] = p
	c.queue = append(c.queue, id)
}

func (c *codes) get(id uint64) (pendingCode, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.open[id]
	return p, ok
}

func (c *codes) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// isS256 tells whether a code challenge is 32 bytes in base64url (RFC 7636
// section 4.2).
func isS256(challenge string) bool {
	sum, err := base64.RawURLEncoding.DecodeString(challenge)
	return err == nil && len(sum) == sha256.Size
}

// authorize approves an authorization request (RFC 6749 section 4.1.1) in the
// name of login_hint and sends the browser back with a code.
func (s *Server) authorize(r *http.Request) *reply {
	if r.Method != http.MethodGet {
		return notAllowed(http.MethodGet)
	}
	f, err := parseForm(r.URL.RawQuery)
	if err != nil {
		return page(http.StatusBadRequest, err.Error())
	}
	c := s.clients[f.clientID]
	// A redirect is only safe once both are known to belong together
	// (RFC 6749 section 4.1.2.1).
	if c == nil || !c.redirectable(f.redirectURI) {
		return page(http.StatusBadRequest, "the client is unknown or did not register this redirect_uri")
	}
	refuse := func(_ int, code, text string) *reply {
		rep := s.back(r, &f, url.Values{"error": {code}, "error_description": {text}})
		rep.code = code
		return rep
	}
	scopes, bad := c.checkRequest(&f)
	if bad != nil {
		return refuse(0, bad.code, bad.text)
	}
	a := s.store.account(defaultHint(f.hint))
	return s.perform(r, subject{at: atAuthorize, account: a, client: c.ID, refuse: refuse}, func() *reply {
		return s.back(r, &f, url.Values{"code": {s.newCode(c, a, &f, scopes)}})
	})
}

func defaultHint(hint string) string {
	if hint == "" {
		return defaultAccount
	}
	return strings.Clone(hint)
}

// refusal is an OAuth error before it is known how it will be told.
type refusal struct{ code, text string }

// checkRequest checks what the client asks for, and returns the scopes it gets.
func (c *client) checkRequest(f *form) ([]string, *refusal) {
	switch {
	case f.responseType == "":
		return nil, &refusal{"invalid_request", "response_type is missing"}
	case f.responseType != "code":
		return nil, &refusal{"unsupported_response_type", "response_type must be code"}
	case f.challenge == "":
		return nil, &refusal{"invalid_request", "code_challenge is missing: PKCE is required"}
	case f.method != "S256":
		return nil, &refusal{"invalid_request", "code_challenge_method must be S256"}
	case !isS256(f.challenge):
		return nil, &refusal{"invalid_request", "code_challenge is not a base64url SHA-256"}
	}
	scopes, err := c.grantable(f.scope)
	if err != nil {
		return nil, &refusal{"invalid_scope", err.Error()}
	}
	return scopes, nil
}

// newCode puts a code into circulation.
func (s *Server) newCode(c *client, a *account, f *form, scopes []string) string {
	now := time.Now()
	id := s.mint.familyID(a.name, a.next())
	expires := now.Add(s.cfg.CodeLifetime)
	s.codes.put(id, pendingCode{
		client:    c,
		account:   a,
		redirect:  strings.Clone(f.redirectURI),
		challenge: strings.Clone(f.challenge),
		scopes:    scopes,
		nonce:     strings.Clone(f.nonce),
		expires:   expires,
	}, now)
	return s.mint.seal(claims{kind: kindCode, family: id, issued: now.UnixNano(), end: expires.UnixNano()})
}

// back sends the browser to the client's redirect URI, with the issuer as
// RFC 9207 wants it. A query the URI has already stays (RFC 6749 section 3.1.2).
func (s *Server) back(r *http.Request, f *form, v url.Values) *reply {
	if f.state != "" {
		v.Set("state", f.state)
	}
	v.Set("iss", s.issuer(r))
	sep := "?"
	if strings.Contains(f.redirectURI, "?") {
		sep = "&"
	}
	rep := page(http.StatusFound, "")
	rep.header = []string{"Location", f.redirectURI + sep + v.Encode(), "Referrer-Policy", "no-referrer"}
	return rep
}

// page is a reply for a person.
func page(status int, text string) *reply {
	return &reply{status: status, kind: "text/plain; charset=utf-8", body: []byte(text + "\n")}
}

// proves tells whether the verifier fits the challenge (RFC 7636 section 4.6).
func proves(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == challenge
}
