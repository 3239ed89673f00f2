package provider

import (
	"cmp"
	"slices"
	"strings"
)

// Dialect says where a provider's requests and answers differ from RFC 6749. Its zero value is the RFC's own way.
type Dialect struct {
	ScopeSeparator string `json:"scope_separator,omitempty"` // between the scopes of a request; default one space (RFC 6749 section 3.3)
	ScopeParam     string `json:"scope_param,omitempty"`     // what the authorization request calls its scopes; default scope
	ClientIDParam  string `json:"client_id_param,omitempty"` // what requests call the client id; default client_id

	// AuthParams go into the authorization request, such as access_type=offline. An empty value leaves its name out.
	AuthParams map[string]string `json:"auth_params,omitempty"`
	// CodeParams go into the request that trades the code for tokens, and into no refresh. An empty value leaves its name out.
	CodeParams map[string]string `json:"code_params,omitempty"`

	CodeChallenge CodeChallenge `json:"code_challenge,omitempty"` // default ChallengeS256
	TokenFormat   TokenFormat   `json:"token_format,omitempty"`   // default FormatForm
	Reply         ReplyShape    `json:"reply,omitzero"`
}

// CodeChallenge is how the PKCE challenge is made of the verifier. Its method is called S256 either way.
type CodeChallenge string

// The code challenges.
const (
	ChallengeS256    CodeChallenge = "S256"     // base64url of the SHA-256 (RFC 7636 section 4.2)
	ChallengeS256Hex CodeChallenge = "S256_hex" // hex of the SHA-256: TikTok's desktop apps
)

// TokenFormat is the body of a token request.
type TokenFormat string

// The formats of token requests.
const (
	FormatForm TokenFormat = "form" // application/x-www-form-urlencoded (RFC 6749 section 4.1.3)
	FormatJSON TokenFormat = "json" // a JSON object with the same members
)

// ReplyShape says where an answer of the token endpoint has what RFC 6749 sections 5.1 and 5.2 have at its top.
type ReplyShape struct {
	// Tokens is the member whose value, an object, holds the tokens: Slack's authed_user. An answer in which that object
	// has no access token is read as usual, so that it may nest the first tokens only.
	Tokens string `json:"tokens,omitempty"`
	// Codes are members that hold an error code beside error, the most telling first.
	Codes []string `json:"codes,omitempty"`
}

// IsZero reports whether the answers have the shape of the RFC.
func (s ReplyShape) IsZero() bool { return s.Tokens == "" && len(s.Codes) == 0 }

// ScopeText joins scopes as the provider reads them.
func (d Dialect) ScopeText(scopes []string) string {
	return strings.Join(scopes, cmp.Or(d.ScopeSeparator, " "))
}

// ScopeName is the parameter of an authorization request that holds the scopes.
func (d Dialect) ScopeName() string { return cmp.Or(d.ScopeParam, "scope") }

// ClientIDName is the parameter that holds the client id.
func (d Dialect) ClientIDName() string { return cmp.Or(d.ClientIDParam, "client_id") }

// authReserved are the parameters that an authorization request has anyway.
func (d Dialect) authReserved() []string {
	return []string{
		"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "login_hint",
		d.ScopeName(), d.ClientIDName(),
	}
}

// codeReserved are the parameters that a token request has anyway.
func (d Dialect) codeReserved() []string {
	return []string{
		"grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret", "client_assertion", "client_assertion_type",
		"refresh_token", d.ClientIDName(),
	}
}

func (d Dialect) check(f *faults, scopes []string) {
	const separators = " ,;+"
	if s := d.ScopeSeparator; s != "" && (len(s) != 1 || !strings.Contains(separators, s)) {
		f.add("scope_separator", "%q does not separate scopes: want one of space, comma, semicolon and plus", s)
	} else if i := slices.IndexFunc(scopes, func(scope string) bool { return s != "" && strings.Contains(scope, s) }); i >= 0 {
		f.add("scopes", "%q has the separator %q in it: write one scope each", scopes[i], s)
	}
	checkName(f, "scope_param", d.ScopeParam)
	checkName(f, "client_id_param", d.ClientIDParam)
	checkParams(f, "auth_params", d.AuthParams, d.authReserved())
	checkParams(f, "code_params", d.CodeParams, d.codeReserved())
	switch d.CodeChallenge {
	case "", ChallengeS256, ChallengeS256Hex:
	default:
		f.add("code_challenge", "%q is no code challenge: want S256 or S256_hex", d.CodeChallenge)
	}
	switch d.TokenFormat {
	case "", FormatForm, FormatJSON:
	default:
		f.add("token_format", "%q is no format of token requests: want form or json", d.TokenFormat)
	}
	checkName(f, "reply.tokens", d.Reply.Tokens)
	for _, name := range d.Reply.Codes {
		if name == "" {
			f.add("reply.codes", "an empty name: remove it")
		}
		checkName(f, "reply.codes", name)
	}
}

// checkName refuses what cannot name a parameter or a member; "" is the default.
func checkName(f *faults, field, name string) {
	const longest = 64 // bytes
	if len(name) > longest || !only(name, isNameByte) {
		f.add(field, "%q is no name: want at most %d letters, digits and _ . -", name, longest)
	}
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
}

func checkParams(f *faults, field string, params map[string]string, reserved []string) {
	const longest = 2048 // bytes; a URL with a few of them stays within what servers read
	for _, name := range sortedKeys(params) {
		at := field + "." + name
		switch value := params[name]; {
		case name == "" || !only(name, isNameByte): // it may be a value that lost its place
			f.add(field, "there is a name that no parameter can have: want letters, digits and _ . -")
		case slices.Contains(reserved, name):
			f.add(at, "Freshet sets this parameter itself: remove it")
		case len(value) > longest || !only(value, func(c byte) bool { return 0x20 <= c && c <= 0x7e }):
			f.add(at, "want at most %d characters of printable ASCII", longest)
		}
	}
}
