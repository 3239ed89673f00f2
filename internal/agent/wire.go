package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/tokens"
)

const (
	// requiredHeader is what a request must carry, with the value requiredValue.
	requiredHeader = "X-Freshet-Token"
	requiredValue  = "true"
	// tokensPath is followed by PROVIDER/ACCOUNT.
	tokensPath = "/v1/tokens/"
	// refusedParam of a POST is the access token that a server refused.
	refusedParam = "refused_token"
	minTTLParam  = "min_ttl"
)

// grant is an answer with a token: RFC 6749 section 5.1.
type grant struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   *int64 `json:"expires_in,omitempty"` // seconds; none: it has no end
	Scope       string `json:"scope,omitempty"`
}

func grantOf(t tokens.Token, now time.Time) grant {
	g := grant{AccessToken: t.AccessToken.Reveal(), TokenType: cmp.Or(t.TokenType, "Bearer"), Scope: strings.Join(t.Scopes, " ")}
	if !t.ExpiresAt.IsZero() {
		left := max(int64(t.ExpiresAt.Sub(now)/time.Second), 0)
		g.ExpiresIn = &left
	}
	return g
}

// refusal is an answer without: the members of RFC 6749 section 5.2, with words of our own.
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// The words of a refusal.
const (
	wordInvalid     = "invalid_request"
	wordClient      = "invalid_client"
	wordDenied      = "access_denied"
	wordNotFound    = "not_found"
	wordReauth      = "reauth_required"
	wordRevoked     = "revoked"
	wordNotRenewed  = "not_renewed"
	wordUnavailable = "temporarily_unavailable"
	wordServer      = "server_error"
)

// meaning is what an error is in an answer, and the other way about.
type meaning struct {
	err    error
	status int
	word   string
}

// meanings are in the order in which they are looked for.
func meanings() []meaning {
	return []meaning{
		{events.ErrName, http.StatusBadRequest, wordInvalid},
		{tokens.ErrNotFound, http.StatusNotFound, wordNotFound},
		{tokens.ErrRevoked, http.StatusConflict, wordRevoked},
		{tokens.ErrReauthRequired, http.StatusConflict, wordReauth},
		{tokens.ErrPermission, http.StatusInternalServerError, wordServer},
		{tokens.ErrNotRenewed, http.StatusServiceUnavailable, wordNotRenewed},
		{tokens.ErrUnavailable, http.StatusServiceUnavailable, wordUnavailable},
		{tokens.ErrExpired, http.StatusServiceUnavailable, wordUnavailable},
		{tokens.ErrClosed, http.StatusServiceUnavailable, wordUnavailable},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, wordUnavailable},
	}
}

// answerTo returns the status and body for an error of a Source. No error of one shows token material.
func answerTo(err error) (int, refusal) {
	for _, m := range meanings() {
		if errors.Is(err, m.err) {
			return m.status, refusal{m.word, err.Error()}
		}
	}
	return http.StatusInternalServerError, refusal{wordServer, err.Error()}
}

// errorOf is what a refusal means to a program that would else have read from NATS.
func errorOf(status int, r refusal) error {
	for _, m := range meanings() {
		if m.status == status && m.word == r.Error {
			return m.err
		}
	}
	return ErrRefused
}

// ErrRefused: the agent does not serve this request, and said why.
var ErrRefused = errors.New("refused by the agent")

// pathOf is where the token of a credential is.
func pathOf(id string) string {
	provider, account, _ := strings.Cut(id, "/")
	// Dots and slashes are escaped too, so that nobody on the way takes .. or // for something else.
	return tokensPath + url.PathEscape(provider) + "/" + strings.ReplaceAll(url.PathEscape(account), ".", "%2E")
}

// writeJSON answers. A client that is gone needs no answer, so nobody looks at the error.
func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store") // RFC 6749 section 5.1, as is the next
	h.Set("Pragma", "no-cache")
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
