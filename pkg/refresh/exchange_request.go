package refresh

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// unsupportedError: this version cannot make such a request; a newer one may.
type unsupportedError struct{ what string }

// Error implements error.
func (e *unsupportedError) Error() string { return e.what + " is not supported by this version" }

// requestError says in its own words why no request can be made. It quotes nothing.
type requestError string

// Error implements error.
func (e requestError) Error() string { return string(e) }

// endpoint is an address of a provider, under the name that its setting has.
type endpoint struct{ setting, url string }

// newTokenRequest builds the request that presents a grant. Assertions are dated in NATS time.
func newTokenRequest(r Request) (*http.Request, error) {
	now := time.Now().Add(time.Duration(r.Ticket.Skew))
	form, err := grantForm(r, now)
	if err != nil {
		return nil, err
	}
	addParameters(form, r.Provider.TokenRequest)
	return newPost(endpoint{"token_url", r.Provider.TokenURL}, r.Provider, r.ClientSecret, form, now)
}

// addParameters adds what a definition wants beside the grant (RFC 8707 section 2.2 and what providers invent).
func addParameters(form url.Values, p provider.TokenRequest) {
	if len(p.Resources) > 0 {
		form["resource"] = p.Resources
	}
	if p.Audience != "" {
		form.Set("audience", p.Audience)
	}
	for name, value := range p.TokenParams {
		if !provider.ReservedTokenParam(name) {
			form.Set(name, value)
		}
	}
}

// encodeBody writes a request's members as the endpoint takes them. Only token endpoints are known to want JSON.
func encodeBody(at endpoint, d *provider.Definition, form url.Values) (body, contentType string) {
	if d.TokenFormat != provider.FormatJSON || at.setting != "token_url" {
		return form.Encode(), "application/x-www-form-urlencoded"
	}
	object := make(map[string]any, len(form))
	for name, values := range form {
		if object[name] = form.Get(name); len(values) > 1 {
			object[name] = values // as resource may have (RFC 8707 section 2); JSON has no other way to repeat a member
		}
	}
	data, _ := json.Marshal(object) // strings: cannot fail
	return string(data), "application/json"
}

// newPost builds the POST of a form (RFC 6749 section 6, and all that ask alike). It never sets Idempotency-Key: net/http
// would take it as leave to send the request twice.
func newPost(at endpoint, d *provider.Definition, clientSecret seal.Secret, form url.Values, now time.Time) (*http.Request, error) {
	if err := at.check(); err != nil {
		return nil, err
	}
	header := http.Header{"Accept": {"application/json"}}
	if err := authenticate(d, clientSecret, form, header, now); err != nil {
		return nil, err
	}
	body, contentType := encodeBody(at, d, form)
	header.Set("Content-Type", contentType)
	// A strings.Reader gives the request a length, and a GetBody: the Asker's transport may go on to a live connection when
	// it finds a kept one dead. What the Asker sends does no harm twice.
	req, err := http.NewRequest(http.MethodPost, at.url, strings.NewReader(body))
	if err != nil {
		return nil, requestError(at.setting + " cannot be used")
	}
	req.URL.User = nil
	req.Header = header
	return req, nil
}

// check refuses to send a token in the clear.
func (e endpoint) check() error {
	u, err := url.Parse(e.url)
	switch {
	case err != nil || u.Host == "":
		return requestError(e.setting + " is not an absolute URL: set it to the provider's endpoint")
	case u.Scheme == "https", u.Scheme == "http" && provider.Loopback(u.Hostname()):
		return nil
	default:
		return requestError(e.setting + " must be https (plain http is for loopback only): change it to https")
	}
}

// grantForm is the body but for client authentication.
func grantForm(r Request, now time.Time) (url.Values, error) {
	switch {
	case r.form != nil:
		return maps.Clone(r.form), nil
	case r.Provider.Grant.Remints():
		return mintForm(r, now)
	case r.RefreshToken.IsZero():
		return nil, requestError("there is no refresh token to present")
	}
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.RefreshToken.Reveal()}}, nil
}

// authenticate adds the client's identity in the one way the provider is known to take (RFC 6749 section 2.3.1,
// RFC 7523 section 2.2).
func authenticate(d *provider.Definition, clientSecret seal.Secret, form url.Values, header http.Header, now time.Time) error {
	switch d.AuthStyle {
	case provider.AuthBasic:
		basic := http.Request{Header: header}
		basic.SetBasicAuth(url.QueryEscape(d.ClientID), url.QueryEscape(clientSecret.Reveal()))
	case provider.AuthPost:
		form.Set(d.ClientIDName(), d.ClientID)
		form.Set("client_secret", clientSecret.Reveal())
	case provider.AuthNone:
		if d.ClientID != "" {
			form.Set(d.ClientIDName(), d.ClientID)
		}
	case provider.AuthPrivateKeyJWT:
		return proveByAssertion(d, clientSecret, form, now)
	default:
		return &unsupportedError{what: fmt.Sprintf("auth_style %.32q", string(d.AuthStyle))}
	}
	return nil
}
