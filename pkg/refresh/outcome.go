package refresh

import (
	"context"
	"net/url"
	"time"

	"github.com/freshetdev/freshet/internal/flatjson"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// MaxReply bounds a token endpoint's answer, in bytes.
const MaxReply = 256 << 10

// Request is one presentation of a grant at a token endpoint.
type Request struct {
	Ticket       Ticket
	Provider     *provider.Definition
	ClientSecret seal.Secret // the one of the provider's secrets, or keys, to use; empty for public clients
	RefreshToken seal.Secret // not for a grant type that re-mints
	Subject      string      // for whom a token is asked with provider.GrantJWTBearer
	// Deadline ends the request, whatever happens; nothing else does once a byte was written.
	Deadline time.Time
	// Fence is asked immediately before the first byte: for how long may it still be written? Nothing is sent when the
	// answer is not positive. nil: at any time.
	Fence func() time.Duration

	form url.Values // what is presented in place of the grant; nil: the grant
}

// Phase says how far a request came.
type Phase string

// The phases of a request.
const (
	PhaseNotSent  Phase = "not_sent" // not one byte of the request was written
	PhaseSent     Phase = "sent"     // something was written, and no whole answer came back
	PhaseAnswered Phase = "answered" // a whole answer is here
)

// Outcome is what became of a request, before anybody has read the answer. Its JSON form goes, sealed,
// into the journal.
type Outcome struct {
	Phase       Phase     `json:"phase"`
	Status      int       `json:"status,omitempty"` // HTTP status
	ContentType string    `json:"content_type,omitempty"`
	RetryAfter  string    `json:"retry_after,omitempty"` // header, as sent (RFC 9110 section 10.2.3)
	Date        string    `json:"date,omitempty"`        // header, as sent; shows the provider's clock
	Body        []byte    `json:"body,omitempty"`        // token material
	StartedAt   time.Time `json:"started_at"`            // when the request began; lifetimes count from here
	EndedAt     time.Time `json:"ended_at"`
	// Err says what went wrong below HTTP, without token material.
	Err string `json:"err,omitempty"`
	// Local: the fault is this machine's (its trust store, its file descriptors), not the provider's.
	Local bool `json:"local,omitempty"`
}

// encode adds the members that json.Marshal would make of out.
func (out *Outcome) encode(o *flatjson.Object) {
	o.Text("phase", string(out.Phase))
	o.IntIf("status", int64(out.Status))
	o.TextIf("content_type", out.ContentType)
	o.TextIf("retry_after", out.RetryAfter)
	o.TextIf("date", out.Date)
	o.BytesIf("body", out.Body)
	o.Time("started_at", out.StartedAt)
	o.Time("ended_at", out.EndedAt)
	o.TextIf("err", out.Err)
	o.TrueIf("local", out.Local)
}

// Exchanger presents a grant once.
type Exchanger interface {
	// Exchange makes at most one request and always returns what became of it. Cancelling ctx ends it only before
	// the first byte.
	Exchange(ctx context.Context, r Request) Outcome
}

// Reply is a token endpoint's answer, read tolerantly (RFC 6749 section 5.1 and what providers really send).
type Reply struct {
	AccessToken  seal.Secret
	RefreshToken seal.Secret // empty: the old one stays (RFC 6749 section 6)
	TokenType    string
	Scopes       []string // nil when the answer names none: unchanged
	// Lifetime of the access token from Outcome.StartedAt; 0 when the answer names none.
	Lifetime time.Duration
	// GrantLifetime of the refresh token, where the answer names one (refresh_token_expires_in and its kin).
	GrantLifetime time.Duration
	// IDToken is the OpenID Connect identity token, if any.
	IDToken seal.Secret
	// Meta is every other member of the answer, as a JSON object; nil when there is none.
	Meta []byte
}

// Judgement is the reading of an outcome.
type Judgement struct {
	Class Class
	Code  string // the provider's error code, if it gave one; printable, at most 64 bytes
	// RetryAfter is what the provider asked for; 0 when it did not.
	RetryAfter time.Duration
	// Reply is set when Class is ClassOK.
	Reply Reply
	// Detail says in words what was seen, without token material.
	Detail string
}
