package refresh

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

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

// newTokenRequest builds the request that presents a grant.
func newTokenRequest(r Request) (*http.Request, error) {
	form, err := grantForm(r)
	if err != nil {
		return nil, err
	}
	return newPost(endpoint{"token_url", r.Provider.TokenURL}, r.Provider, r.ClientSecret, form)
}

// encodeBody writes a request's members as the endpoint takes them. Only token endpoints are known to want JSON.
func encodeBody(at endpoint, d *provider.Definition, form url.Values) (body, contentType string) {
	if d.TokenFormat != provider.FormatJSON || at.setting != "token_url" {
		return form.Encode(), "application/x-www-form-urlencoded"
	}
	object := make(map[string]string, len(form))
	for name := range form {
		object[name] = form.Get(name)
	}
	data, _ := json.Marshal(object) // strings: cannot fail
	return string(data), "application/json"
}

// newPost builds the POST of a form (RFC 6749 section 6, and all that ask alike). It never sets Idempotency-Key: net/http
// would take it as leave to send the request twice.
func newPost(at endpoint, d *provider.Definition, clientSecret seal.Secret, form url.Values) (*http.Request, error) {
	if err := at.check(); err != nil {
		return nil, err
	}
	header := http.Header{"Accept": {"application/json"}}
	if err := authenticate(d, clientSecret, form, header); err != nil {
		return nil, err
	}
	body, contentType := encodeBody(at, d, form)
	header.Set("Content-Type", contentType)
	// A strings.Reader gives the request a GetBody: net/http may go on to a live connection when it finds a
	// dead one before the first byte. The transit sees to it that it does so only then.
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
func grantForm(r Request) (url.Values, error) {
	if r.form != nil {
		return maps.Clone(r.form), nil
	}
	if !r.RefreshToken.IsZero() {
		return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.RefreshToken.Reveal()}}, nil
	}
	if r.Provider.Grant != provider.GrantClientCredentials {
		return nil, requestError("there is no refresh token to present")
	}
	form := url.Values{"grant_type": {"client_credentials"}} // RFC 6749 section 4.4.2
	if len(r.Provider.Scopes) > 0 {
		form.Set("scope", r.Provider.ScopeText(r.Provider.Scopes))
	}
	return form, nil
}

// authenticate adds the client's identity in the one way the provider is known to take (RFC 6749 section 2.3.1).
func authenticate(d *provider.Definition, clientSecret seal.Secret, form url.Values, header http.Header) error {
	switch d.AuthStyle {
	case provider.AuthBasic:
		basic := http.Request{Header: header}
		basic.SetBasicAuth(url.QueryEscape(d.ClientID), url.QueryEscape(clientSecret.Reveal()))
	case provider.AuthPost:
		form.Set(d.ClientIDName(), d.ClientID)
		form.Set("client_secret", clientSecret.Reveal())
	case provider.AuthNone:
		form.Set(d.ClientIDName(), d.ClientID)
	case provider.AuthPrivateKeyJWT:
		return &unsupportedError{what: "auth_style private_key_jwt"}
	default:
		return &unsupportedError{what: fmt.Sprintf("auth_style %.32q", string(d.AuthStyle))}
	}
	return nil
}
