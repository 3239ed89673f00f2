package authserver

import (
	"crypto"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// AuthMethod is how a client proves itself at the token, introspection and
// revocation endpoints (RFC 6749 section 2.3).
type AuthMethod string

// The methods a Client may be registered with.
const (
	// AuthBasic is HTTP Basic; both halves are form-encoded first.
	AuthBasic AuthMethod = "basic"
	// AuthPost is client_id and client_secret in the form.
	AuthPost AuthMethod = "post"
	// AuthNone is client_id alone: a public client.
	AuthNone AuthMethod = "none"
	// AuthPrivateKeyJWT is an assertion signed by one of the client's keys
	// (RFC 7523 section 2.2), good once.
	AuthPrivateKeyJWT AuthMethod = "private_key_jwt"
)

// Client is one registration.
type Client struct {
	// ID is the client identifier. Required, unique.
	ID string
	// Secret is the client's password. Required for AuthBasic and AuthPost.
	Secret string
	// Keys verify the client's assertions: RSA for RS256, P-256 for ES256,
	// Ed25519 for EdDSA. Whoever has one may also ask for tokens of any account
	// (RFC 7523 section 2.1).
	Keys []crypto.PublicKey
	// TokenAudience: assertions name the token endpoint as their audience.
	// False: the issuer.
	TokenAudience bool
	// Auth lists the accepted methods. Empty: basic and post if there is a
	// Secret, else private_key_jwt if there are Keys, else none.
	Auth []AuthMethod
	// RedirectURIs are compared byte by byte (RFC 9700 section 2.1), except
	// that an http URI on a loopback IP address matches any port (RFC 8252
	// section 7.3). Empty: the client cannot use /authorize.
	RedirectURIs []string
	// Scopes are those the client may ask for, and gets if it asks for none;
	// at most 32. Empty: whatever it asks for.
	Scopes []string
}

func (c Client) auth() []AuthMethod {
	switch {
	case len(c.Auth) > 0:
		return c.Auth
	case c.Secret != "":
		return []AuthMethod{AuthBasic, AuthPost}
	case len(c.Keys) > 0:
		return []AuthMethod{AuthPrivateKeyJWT}
	}
	return []AuthMethod{AuthNone}
}

func (c Client) validate() error {
	var errs []error
	if c.ID == "" {
		errs = append(errs, errors.New("id is empty: give one"))
	}
	for _, m := range c.auth() {
		switch m {
		case AuthNone:
		case AuthBasic, AuthPost:
			if c.Secret == "" {
				errs = append(errs, fmt.Errorf("auth method %q needs a secret", m))
			}
		case AuthPrivateKeyJWT:
			if len(c.Keys) == 0 {
				errs = append(errs, fmt.Errorf("auth method %q needs keys", m))
			}
		default:
			errs = append(errs, fmt.Errorf("auth method %q is unknown: use basic, post, none or private_key_jwt", m))
		}
	}
	for _, raw := range c.RedirectURIs {
		if u, err := url.Parse(raw); err != nil || !u.IsAbs() || strings.Contains(raw, "#") {
			errs = append(errs, fmt.Errorf("redirect URI %q: must be absolute and without a fragment", raw))
		}
	}
	if _, err := splitScope(strings.Join(c.Scopes, " ")); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// client is a registration at work.
type client struct {
	Client
	methods []AuthMethod
	machine *family // of client_credentials tokens
	rate    window
}

// public tells whether the client has nothing to prove itself with.
func (c *client) public() bool { return c.Secret == "" && len(c.Keys) == 0 }

// redirectable tells whether the client registered this redirect URI.
func (c *client) redirectable(uri string) bool {
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		return registered == uri || sameLoopback(registered, uri)
	})
}

// sameLoopback tells whether two http URIs on a loopback IP address differ in
// nothing but the port (RFC 8252 section 7.3). The name localhost does not
// count: section 8.3 advises against it.
func sameLoopback(registered, uri string) bool {
	a, errA := url.Parse(registered)
	b, errB := url.Parse(uri)
	if errA != nil || errB != nil || a.Scheme != "http" || strings.Contains(uri, "#") {
		return false
	}
	if ip := net.ParseIP(a.Hostname()); ip == nil || !ip.IsLoopback() || a.Hostname() != b.Hostname() {
		return false
	}
	a.Host, b.Host = "", ""
	return a.String() == b.String()
}

// grantable returns the scopes a request for the given scope gets, or why it
// gets none.
func (c *client) grantable(scope string) ([]string, error) {
	if scope == "" {
		return c.Scopes, nil
	}
	scopes, err := splitScope(scope)
	if err != nil || len(c.Scopes) == 0 {
		return scopes, err
	}
	for _, s := range scopes {
		if !slices.Contains(c.Scopes, s) {
			return nil, errors.New("a scope is not allowed for this client")
		}
	}
	return scopes, nil
}

// splitScope parses a scope value (RFC 6749 section 3.3), dropping repeats.
func splitScope(scope string) ([]string, error) {
	scopes := strings.Fields(strings.Clone(scope))
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	if len(scopes) > maxScopes {
		return nil, fmt.Errorf("%d scopes: at most %d", len(scopes), maxScopes)
	}
	for _, s := range scopes {
		if strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' || r == '"' || r == '\\' }) {
			return nil, errors.New("a scope holds a character outside the allowed set")
		}
	}
	return scopes, nil
}

// caller reads a posted form and the client that sent it.
func (s *Server) caller(r *http.Request) (*client, *form, *reply) {
	f, bad := readForm(r)
	if bad != nil {
		return nil, nil, bad
	}
	c, bad := s.authenticate(r, f)
	return c, f, bad
}

// authenticate finds the client that sent the form. A client that fails gets
// the same answer whatever was wrong, so as not to tell which clients exist.
func (s *Server) authenticate(r *http.Request, f *form) (*client, *reply) {
	id, secret, method, bad := credentials(r, f)
	if bad != nil {
		return nil, bad
	}
	c := s.clients[id]
	if c == nil || !slices.Contains(c.methods, method) {
		return nil, refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	}
	if method == AuthPrivateKeyJWT && !s.proves(r, c, f) {
		return nil, refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	}
	if (method == AuthBasic || method == AuthPost) && subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) != 1 {
		return nil, refuse(http.StatusUnauthorized, "invalid_client", "client authentication failed")
	}
	return c, nil
}

// credentials reads what the client claims to be. More than one method in a
// request is an error (RFC 6749 section 2.3).
func credentials(r *http.Request, f *form) (id, secret string, m AuthMethod, bad *reply) {
	if r.Header.Get("Authorization") == "" {
		return formCredentials(f)
	}
	user, pass, ok := r.BasicAuth()
	id, errID := url.QueryUnescape(user)
	secret, errSecret := url.QueryUnescape(pass)
	if !ok || errID != nil || errSecret != nil {
		return "", "", "", refuse(http.StatusUnauthorized, "invalid_client", "the Authorization header is not valid Basic")
	}
	if f.clientSecret != "" || f.clientAssertion != "" || f.clientID != "" && f.clientID != id {
		return "", "", "", refuse(http.StatusBadRequest, "invalid_request", "more than one way of client authentication")
	}
	return id, secret, AuthBasic, nil
}

// formCredentials is credentials for a request without an Authorization header. An assertion names the client that has left
// client_id out (RFC 7521 sections 4.1 and 4.2).
func formCredentials(f *form) (id, secret string, m AuthMethod, bad *reply) {
	id = f.clientID
	if named := f.clientAssertion + f.assertion; id == "" && named != "" {
		id = unverified(named).Issuer
	}
	switch {
	case f.clientAssertion != "" && f.clientSecret != "":
		return "", "", "", refuse(http.StatusBadRequest, "invalid_request", "more than one way of client authentication")
	case f.clientAssertion != "":
		return id, "", AuthPrivateKeyJWT, nil
	case f.clientSecret != "":
		return id, f.clientSecret, AuthPost, nil
	}
	return id, "", AuthNone, nil
}
