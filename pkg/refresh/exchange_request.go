package refresh

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/freshetdev/freshet/pkg/provider"
)

// unsupportedError: this worker cannot make such a request; a newer one may.
type unsupportedError struct{ what string }

// Error implements error.
func (e *unsupportedError) Error() string { return e.what + " is not supported by this worker" }

// requestError says in its own words why no request can be made. It quotes nothing.
type requestError string

// Error implements error.
func (e requestError) Error() string { return string(e) }

// newTokenRequest builds the POST (RFC 6749 section 6). It never sets Idempotency-Key: net/http would take it as
// leave to send the request twice.
func newTokenRequest(r Request) (*http.Request, error) {
	if err := checkTokenURL(r.Provider.TokenURL); err != nil {
		return nil, err
	}
	form, err := grantForm(r)
	if err != nil {
		return nil, err
	}
	header := http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"},
		"Accept":       {"application/json"},
	}
	if err := authenticate(r, form, header); err != nil {
		return nil, err
	}
	// A strings.Reader gives the request a GetBody: net/http may go on to a live connection when it finds a
	// dead one before the first byte. The transit sees to it that it does so only then.
	req, err := http.NewRequest(http.MethodPost, r.Provider.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, requestError("token_url cannot be used")
	}
	req.URL.User = nil
	for name, values := range header {
		req.Header[name] = values
	}
	return req, nil
}

// checkTokenURL refuses to send a grant in the clear.
func checkTokenURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return requestError("token_url is not an absolute URL: set it to the provider's token endpoint")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return requestError("token_url must be https (plain http is for loopback only): change it to https")
	}
}

// grantForm is the body but for client authentication.
func grantForm(r Request) (url.Values, error) {
	if !r.RefreshToken.IsZero() {
		return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {r.RefreshToken.Reveal()}}, nil
	}
	if r.Provider.Grant != provider.GrantClientCredentials {
		return nil, requestError("there is no refresh token to present")
	}
	form := url.Values{"grant_type": {"client_credentials"}} // RFC 6749 section 4.4.2
	if len(r.Provider.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Provider.Scopes, " "))
	}
	return form, nil
}

// authenticate adds the client's identity in the one way the provider is known to take (RFC 6749 section 2.3.1).
func authenticate(r Request, form url.Values, header http.Header) error {
	id := r.Provider.ClientID
	switch r.Provider.AuthStyle {
	case provider.AuthBasic:
		basic := http.Request{Header: header}
		basic.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(r.ClientSecret.Reveal()))
	case provider.AuthPost:
		form.Set("client_id", id)
		form.Set("client_secret", r.ClientSecret.Reveal())
	case provider.AuthNone:
		form.Set("client_id", id)
	case provider.AuthPrivateKeyJWT:
		return &unsupportedError{what: "auth_style private_key_jwt"}
	default:
		return &unsupportedError{what: fmt.Sprintf("auth_style %.32q", string(r.Provider.AuthStyle))}
	}
	return nil
}
