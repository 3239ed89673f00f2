// Package discovery asks an issuer for what it publishes about itself: RFC 8414, and OpenID Connect Discovery 1.0.
//
// # Model
//
// Find gets the metadata of a definition's issuer, Metadata.Fill puts what is missing into the definition. It happens when
// a definition is applied; workers never discover, so that no document can lead them elsewhere.
//
// # Invariants
//
// Metadata that names another issuer, in any byte, is not used (RFC 8414 section 3.3). What a definition says itself is never
// replaced. An issuer that is elsewhere names no endpoint on this machine. The requests go through refresh.Asker and so
// where token requests may go: no redirect, TLS beyond loopback, a bounded answer.
//
// # Concurrency
//
// Plain functions.
package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// What callers branch on.
var (
	// ErrNone: the issuer answers, and publishes no metadata.
	ErrNone = errors.New("the issuer publishes no metadata")
	// ErrMismatch: the metadata is another issuer's, or names endpoints that cannot be this one's.
	ErrMismatch = errors.New("the metadata is not this issuer's")
)

// Metadata is what this program uses of a document (RFC 8414 section 2).
type Metadata struct {
	Issuer        string   `json:"issuer"`
	AuthURL       string   `json:"authorization_endpoint"`
	TokenURL      string   `json:"token_endpoint"`
	DeviceURL     string   `json:"device_authorization_endpoint"`
	RevokeURL     string   `json:"revocation_endpoint"`
	IntrospectURL string   `json:"introspection_endpoint"`
	UserinfoURL   string   `json:"userinfo_endpoint"` // OpenID Connect Discovery section 3
	IssInAnswer   bool     `json:"authorization_response_iss_parameter_supported"`
	Scopes        []string `json:"scopes_supported"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
}

// Find gets the metadata of d's issuer. Errors: ErrNone; ErrMismatch; anything else means that the issuer could not be asked.
func Find(ctx context.Context, ask *refresh.Asker, d *provider.Definition) (Metadata, error) {
	addresses, err := wellKnown(d.Issuer)
	if err != nil {
		return Metadata{}, err
	}
	var faults []error
	for _, address := range addresses {
		status, body, err := ask.Fetch(ctx, d, address)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", address, err))
			continue
		case status >= http.StatusInternalServerError, status == http.StatusTooManyRequests:
			faults = append(faults, fmt.Errorf("%s: HTTP %d", address, status))
			continue
		}
		var m Metadata
		if status != http.StatusOK || json.Unmarshal(body, &m) != nil || m.Issuer == "" {
			continue // some servers have a page for every address
		}
		return m, m.check(d.Issuer)
	}
	if len(faults) == 0 {
		return Metadata{}, ErrNone
	}
	return Metadata{}, fmt.Errorf("ask the issuer for its metadata: %w", errors.Join(faults...))
}

// wellKnown are the places to look: where RFC 8414 section 3.1 puts it, where OpenID Connect Discovery section 4.1 does, and
// where RFC 8414 section 5 allows the latter's document to be.
func wellKnown(issuer string) ([]string, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, errors.New("the issuer is not a URL")
	}
	host, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	all := []string{
		host + "/.well-known/oauth-authorization-server" + path,
		host + path + "/.well-known/openid-configuration",
		host + "/.well-known/openid-configuration" + path,
	}
	return slices.Compact(all), nil
}

// check holds the document against the issuer that was asked.
func (m Metadata) check(issuer string) error {
	if m.Issuer != issuer {
		return fmt.Errorf("%w: it names %.200q, and %q was asked: correct issuer, to the last slash", ErrMismatch, m.Issuer, issuer)
	}
	if local(issuer) {
		return nil
	}
	for _, e := range m.endpoints(new(provider.Definition)) {
		if local(e.found) {
			return fmt.Errorf("%w: its %s is on this very machine", ErrMismatch, e.field)
		}
	}
	return nil
}

func local(address string) bool {
	u, err := url.Parse(address)
	return err == nil && provider.Loopback(u.Hostname())
}

// endpoint is a field of a definition and what was found for it.
type endpoint struct {
	field, found string
	into         *string
}

func (m Metadata) endpoints(d *provider.Definition) []endpoint {
	return []endpoint{
		{"auth_url", m.AuthURL, &d.AuthURL}, {"token_url", m.TokenURL, &d.TokenURL}, {"device_url", m.DeviceURL, &d.DeviceURL},
		{"revoke_url", m.RevokeURL, &d.RevokeURL}, {"introspect_url", m.IntrospectURL, &d.IntrospectURL},
		{fieldUserinfo, m.UserinfoURL, &d.UserinfoURL},
	}
}

// fieldIss is the definition's field for m.IssInAnswer, fieldUserinfo that for m.UserinfoURL.
const (
	fieldIss      = "authorization_response_iss_parameter_supported"
	fieldUserinfo = "userinfo_url"
)

// scopeOpenID is what makes access tokens good for the userinfo endpoint (OpenID Connect Core section 5.3).
const scopeOpenID = "openid"

// Fill returns the definition with what it does not say itself, and its field Discovered naming what that was. The userinfo
// endpoint is not for definitions without the scope openid.
func (m Metadata) Fill(d provider.Definition) provider.Definition {
	d.Discovered = nil
	for _, e := range m.endpoints(&d) {
		if e.field == fieldUserinfo && !slices.Contains(d.Scopes, scopeOpenID) {
			continue
		}
		if *e.into == "" && e.found != "" {
			*e.into = e.found
			d.Discovered = append(d.Discovered, e.field)
		}
	}
	if m.IssInAnswer && !d.IssInAnswer {
		d.IssInAnswer = true
		d.Discovered = append(d.Discovered, fieldIss)
	}
	return d
}

// Of returns what a definition has from an earlier discovery.
func Of(d provider.Definition) Metadata {
	m := Metadata{Issuer: d.Issuer, AuthURL: d.AuthURL, TokenURL: d.TokenURL, DeviceURL: d.DeviceURL, RevokeURL: d.RevokeURL, IntrospectURL: d.IntrospectURL, UserinfoURL: d.UserinfoURL, IssInAnswer: d.IssInAnswer}
	has := func(field string) bool { return slices.Contains(d.Discovered, field) }
	for field, value := range map[string]*string{
		"auth_url": &m.AuthURL, "token_url": &m.TokenURL, "device_url": &m.DeviceURL, "revoke_url": &m.RevokeURL, "introspect_url": &m.IntrospectURL,
		fieldUserinfo: &m.UserinfoURL,
	} {
		if !has(field) {
			*value = ""
		}
	}
	m.IssInAnswer = m.IssInAnswer && has(fieldIss)
	return m
}

// Doubts say in words what of the definition the issuer does not claim to support. They are no errors: documents leave things
// out.
func (m Metadata) Doubts(d *provider.Definition) (doubts []string) {
	method := map[provider.AuthStyle]string{
		provider.AuthBasic: "client_secret_basic", provider.AuthPost: "client_secret_post",
		provider.AuthNone: "none", provider.AuthPrivateKeyJWT: "private_key_jwt",
	}[d.AuthStyle]
	if len(m.AuthMethods) > 0 && !slices.Contains(m.AuthMethods, method) && d.Grant != provider.GrantJWTBearer {
		doubts = append(doubts, fmt.Sprintf("the issuer does not name %s among the ways to authenticate", method))
	}
	for _, s := range d.Scopes {
		if len(m.Scopes) > 0 && !slices.Contains(m.Scopes, s) {
			doubts = append(doubts, fmt.Sprintf("the issuer does not name scope %s", s))
		}
	}
	return doubts
}
