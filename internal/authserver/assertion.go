package authserver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The URIs of RFC 7523 section 2.
const (
	clientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	jwtBearerGrant      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// maxAssertionLife bounds how far ahead an assertion may end.
const maxAssertionLife = time.Hour

// assertionClaims is what this server reads of an assertion (RFC 7523 section 3).
type assertionClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
	Scope    string   `json:"scope"`
}

// audience is a string, or an array of them (RFC 7519 section 4.1.3).
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// unverified reads the claims of an assertion without looking at its signature: whose key is to be looked at.
func unverified(text string) (c assertionClaims) {
	if parts := strings.Split(text, "."); len(parts) == 3 {
		_ = decodePart(parts[1], &c) // what cannot be read has no issuer
	}
	return c
}

func decodePart(part string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// openAssertion checks the signature and everything that RFC 7523 section 3 asks for but who says it about whom. The audience
// must be the one that is wanted and nothing beside it.
func openAssertion(text string, keys []crypto.PublicKey, want string, now time.Time) (assertionClaims, error) {
	var c assertionClaims
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return c, errors.New("the assertion is no JWS")
	}
	var header struct{ Alg, Typ string }
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err = errors.Join(err, decodePart(parts[0], &header), decodePart(parts[1], &c)); err != nil {
		return c, errors.New("the assertion cannot be read")
	}
	signed := []byte(parts[0] + "." + parts[1])
	fits := func(key crypto.PublicKey) bool { return signedBy(key, header.Alg, signed, signature) }
	switch expires := time.Unix(c.Expires, 0); {
	case !slices.ContainsFunc(keys, fits):
		return c, errors.New("the assertion is not signed by a key of this client")
	case len(c.Audience) != 1 || c.Audience[0] != want:
		return c, errors.New("the assertion is not for this server")
	case !now.Before(expires) || expires.After(now.Add(maxAssertionLife)):
		return c, errors.New("the assertion has ended, or ends too far ahead")
	case c.Issued > now.Add(time.Minute).Unix():
		return c, errors.New("the assertion is from the future")
	case c.Subject == "":
		return c, errors.New("the assertion has no subject")
	}
	return c, nil
}

// signedBy checks a signature by the one algorithm that goes with the kind of the key.
func signedBy(key crypto.PublicKey, alg string, signed, signature []byte) bool {
	sum := sha256.Sum256(signed)
	switch key := key.(type) {
	case *rsa.PublicKey:
		return alg == "RS256" && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	case *ecdsa.PublicKey:
		const half = 32 // bytes of a P-256 number
		return alg == "ES256" && len(signature) == 2*half &&
			ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	case ed25519.PublicKey:
		return alg == "EdDSA" && ed25519.Verify(key, signed, signature)
	}
	return false
}

// seenIDs remembers the ids of assertions until they end: each is good once.
type seenIDs struct {
	mu    sync.Mutex
	ends  map[string]int64
	prune int // how many there are when those that have ended go
}

// first reports whether an id was not there before.
func (s *seenIDs) first(client string, c assertionClaims, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ends) >= s.prune {
		maps.DeleteFunc(s.ends, func(_ string, end int64) bool { return end < now.Unix() })
		s.prune = 2*len(s.ends) + 64
	}
	id := client + " " + c.ID
	if _, again := s.ends[id]; again || c.ID == "" {
		return false
	}
	if s.ends == nil {
		s.ends = make(map[string]int64)
	}
	s.ends[id] = c.Expires
	return true
}

// proves tells whether an assertion is this client's proof of itself, and the first use of it (RFC 7523 section 2.2).
func (s *Server) proves(r *http.Request, c *client, f *form) bool {
	now := time.Now()
	got, err := openAssertion(f.clientAssertion, c.Keys, s.audienceFor(r, c), now)
	return err == nil && f.clientAssertionType == clientAssertionType && got.Issuer == c.ID && got.Subject == c.ID && s.seen.first(c.ID, got, now)
}

func (s *Server) audienceFor(r *http.Request, c *client) string {
	if c.TokenAudience {
		return s.issuer(r) + "/token"
	}
	return s.issuer(r)
}

// bearerGrant is RFC 7523 section 2.1: the client's key speaks for any account. There is no refresh token.
func (s *Server) bearerGrant(r *http.Request, c *client, f *form) *reply {
	now := time.Now()
	got, err := openAssertion(f.assertion, c.Keys, s.audienceFor(r, c), now)
	switch {
	case err != nil:
		return s.perform(r, s.about(c, f, nil), func() *reply { return badGrant(err.Error()) })
	case got.Issuer != c.ID || !s.seen.first(c.ID, got, now):
		return s.perform(r, s.about(c, f, nil), func() *reply { return badGrant("the assertion is another's, or was used before") })
	}
	scope := f.scope
	if got.Scope != "" {
		scope = got.Scope
	}
	scopes, err := c.grantable(scope)
	if err != nil {
		return refuse(http.StatusBadRequest, "invalid_scope", err.Error())
	}
	a := s.store.account(strings.Clone(got.Subject))
	fam := c.bearerFamily(s, a)
	return s.perform(r, s.about(c, f, a), func() *reply {
		p, ok := fam.machineToken(now, &s.policy, scopes)
		if !ok {
			return refuse(http.StatusBadRequest, "invalid_scope", "the client has used too many different scopes")
		}
		return s.tokens(p, now)
	})
}

// bearerFamily returns the family of the tokens that the client got for an account.
func (c *client) bearerFamily(s *Server, a *account) *family {
	id := s.mint.familyID(c.ID+" for "+a.name, 0)
	return s.store.families.getOr(id, func() *family {
		return &family{id: id, client: c, holder: a, created: time.Now(), forever: true}
	})
}
