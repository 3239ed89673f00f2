package authserver

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxForm bounds a request body, in bytes.
const maxForm = 64 << 10

// form holds the parameters this server knows; others are ignored (RFC 6749
// section 3.2).
type form struct {
	grantType, code, deviceCode, redirectURI, codeVerifier string
	refreshToken, scope, clientID, clientSecret            string
	clientAssertion, clientAssertionType                   string
	assertion, token                                       string
	responseType, state, challenge, method, hint, nonce    string
}

func (f *form) field(name string) *string {
	switch name {
	case "grant_type":
		return &f.grantType
	case "code":
		return &f.code
	case "device_code":
		return &f.deviceCode
	case "redirect_uri":
		return &f.redirectURI
	case "code_verifier":
		return &f.codeVerifier
	case "refresh_token":
		return &f.refreshToken
	case "scope":
		return &f.scope
	case "client_id":
		return &f.clientID
	case "client_secret":
		return &f.clientSecret
	case "client_assertion":
		return &f.clientAssertion
	case "client_assertion_type":
		return &f.clientAssertionType
	case "assertion":
		return &f.assertion
	case "token":
		return &f.token
	case "response_type":
		return &f.responseType
	case "state":
		return &f.state
	case "code_challenge":
		return &f.challenge
	case "code_challenge_method":
		return &f.method
	case "nonce":
		return &f.nonce
	case "login_hint":
		return &f.hint
	}
	return nil
}

// parseForm reads application/x-www-form-urlencoded text. A known parameter
// must not be repeated; one without a value counts as left out (RFC 6749
// section 3.1). It fills a struct instead of a url.Values because a benchmark
// spends much of its time here.
func parseForm(text string) (form, error) {
	var f form
	for pair := range strings.SplitSeq(text, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return f, errors.New("a parameter name is not form-encoded")
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return f, errors.New("a parameter value is not form-encoded")
		}
		p := f.field(name)
		if p == nil || value == "" {
			continue
		}
		if *p != "" {
			return f, errors.New("parameter " + name + " is repeated")
		}
		*p = value
	}
	return f, nil
}

// readForm reads a POSTed form. Parameters in the URL are refused: secrets do
// not belong there (RFC 6749 section 2.3.1).
func readForm(r *http.Request) (*form, *reply) {
	if r.Method != http.MethodPost {
		return nil, notAllowed(http.MethodPost)
	}
	if !isForm(r.Header.Get("Content-Type")) {
		return nil, badRequest("the body must be application/x-www-form-urlencoded")
	}
	if r.URL.RawQuery != "" {
		return nil, badRequest("parameters belong in the body, not in the URL")
	}
	body, err := readBody(r)
	if err != nil {
		return nil, badRequest("the body cannot be read or is too large")
	}
	f, err := parseForm(body)
	if err != nil {
		return nil, badRequest(err.Error())
	}
	return &f, nil
}

func isForm(contentType string) bool {
	const want = "application/x-www-form-urlencoded"
	if contentType == want {
		return true
	}
	got, _, err := mime.ParseMediaType(contentType)
	return err == nil && got == want
}

func readBody(r *http.Request) (string, error) {
	tooLarge := errors.New("body too large")
	switch {
	case r.ContentLength > maxForm:
		return "", tooLarge
	case r.ContentLength >= 0:
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return string(body), err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if len(body) > maxForm {
		err = tooLarge
	}
	return string(body), err
}
