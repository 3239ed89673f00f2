package refresh

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/pkg/seal"
)

// Errors of ParseReply.
var (
	// ErrUnreadable: this is no whole token answer: cut off, another format, or without an access token.
	ErrUnreadable = errors.New("answer cannot be read")
	// ErrRefused: the answer carries an error and no access token.
	ErrRefused = errors.New("answer is a refusal")
)

// Bounds on what an answer may make us keep in readable fields.
const (
	maxReplyLifetime = 100 * 365 * 24 * time.Hour // far beyond any real one, far below overflow
	maxScopeBytes    = 16 << 10
	maxTokenType     = 64
)

// ParseReply reads a token endpoint's answer. It loses no token over a fault beside it: JSON counts whatever the content
// type says, with a byte order mark, blanks before it or anything after it; otherwise the body is form-encoded, as
// some providers answer. Numbers may be strings, fractions or missing; a member of the wrong type counts as missing.
// Member names are exact. Lifetimes are at least 0 and at most 100 years: what a provider may claim, its max_lifetime
// bounds, and that also catches those that send milliseconds or a date.
//
// Errors: ErrRefused, ErrUnreadable. Neither carries anything of the body.
func ParseReply(contentType string, body []byte) (Reply, error) {
	m, err := readMembers(contentType, body)
	if err != nil {
		return Reply{}, err
	}
	return m.reply()
}

// reply reads one JSON object, so that for a provider that nests its tokens (Slack's authed_user) only the choice of
// the object differs.
func (m members) reply() (Reply, error) {
	access := m.text("access_token")
	switch {
	case access == "" && len(m.codes()) > 0:
		return Reply{}, ErrRefused
	case access == "":
		return Reply{}, fmt.Errorf("%w: no access token", ErrUnreadable)
	}
	r := Reply{
		AccessToken:   seal.NewSecret(access),
		RefreshToken:  seal.NewSecret(m.text("refresh_token")),
		IDToken:       seal.NewSecret(m.text("id_token")),
		TokenType:     m.tokenType(),
		Scopes:        m.scopes(),
		Lifetime:      m.duration("expires_in"),
		GrantLifetime: m.duration("refresh_token_expires_in", "x_refresh_token_expires_in", "refresh_expires_in"),
	}
	r = r.without(r.AccessToken).without(r.RefreshToken).without(r.IDToken)
	r.Meta = m.meta(r)
	return r, nil
}

// without returns the reply with nothing in its readable fields that repeats the secret.
func (r Reply) without(secret seal.Secret) Reply {
	repeats := func(s string) bool { return echoes(s, secret.Reveal()) }
	if inJSON(r.Meta, secret.Reveal()) {
		r.Meta = nil
	}
	if repeats(r.TokenType) {
		r.TokenType = "Bearer"
	}
	if slices.ContainsFunc(r.Scopes, repeats) {
		r.Scopes = slices.DeleteFunc(slices.Clone(r.Scopes), repeats)
	}
	if len(r.Scopes) == 0 {
		r.Scopes = nil
	}
	return r
}

// inJSON reports whether our own JSON repeats a secret, as it is or with the escapes of a JSON string.
func inJSON(data []byte, secret string) bool {
	if len(data) == 0 || secret == "" {
		return false
	}
	quoted, err := json.Marshal(secret)
	return echoes(string(data), secret) || err == nil && echoes(string(data), string(quoted[1:len(quoted)-1]))
}

// tokenType returns token_type, or Bearer where there is none that could be one (RFC 6749 section 7.1).
func (m members) tokenType() string {
	t := m.text("token_type")
	if t == "" || len(t) > maxTokenType || !isPlainName(t) {
		return "Bearer"
	}
	return t
}

// duration returns the first of the members that is a positive number of seconds.
func (m members) duration(names ...string) time.Duration {
	for _, name := range names {
		text := strings.TrimSpace(m.text(name))
		if text == "" {
			continue
		}
		secs, _ := strconv.ParseFloat(text, 64) // infinite when out of range, 0 when no number
		switch {
		case secs >= maxReplyLifetime.Seconds():
			return maxReplyLifetime
		case secs > 0:
			return time.Duration(secs * float64(time.Second))
		}
	}
	return 0
}

// scopes reads scope in its three shapes: separated by spaces (RFC 6749 section 3.3), by commas, or an array.
func (m members) scopes() []string {
	list := m.texts("scope")
	if list == nil {
		list = splitScope(m.text("scope"))
	}
	var scopes []string
	size := 0
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			scopes = append(scopes, s)
			size += len(s)
		}
	}
	if size > maxScopeBytes {
		return nil
	}
	return scopes
}

func splitScope(s string) []string {
	if !strings.ContainsAny(s, " \t\r\n") {
		return strings.Split(s, ",")
	}
	fields := strings.Fields(s)
	for i, f := range fields {
		fields[i] = strings.Trim(f, ",")
	}
	return fields
}

// Token returns the reply as an oauth2.Token whose expiry counts from startedAt, the start of the request. The other
// members are its Extra values. Lifetime is taken as the provider gave it: the caller has bounded it or need not.
func (r Reply) Token(startedAt time.Time) *oauth2.Token {
	t := &oauth2.Token{
		AccessToken:  r.AccessToken.Reveal(),
		TokenType:    r.TokenType,
		RefreshToken: r.RefreshToken.Reveal(),
		ExpiresIn:    int64(r.Lifetime / time.Second),
	}
	if r.Lifetime > 0 {
		t.Expiry = startedAt.Add(r.Lifetime)
	}
	extra := make(map[string]any)
	if r.Meta != nil {
		_ = json.Unmarshal(r.Meta, &extra) // our own encoding
	}
	if !r.IDToken.IsZero() {
		extra["id_token"] = r.IDToken.Reveal()
	}
	if len(r.Scopes) > 0 {
		extra["scope"] = strings.Join(r.Scopes, " ")
	}
	return t.WithExtra(extra)
}
