package events

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Type is what happened; it is the CloudEvents type and the head of the subject.
type Type string

// The event types. Token events concern one credential, provider events a provider's lane.
const (
	// TokenUpdated: a new version exists and is committed.
	TokenUpdated Type = "token.updated"
	// TokenRefreshFailed: an attempt failed and will be tried again.
	TokenRefreshFailed Type = "token.refresh_failed"
	// TokenExpiring: still no new token, and the old one is about to end.
	TokenExpiring Type = "token.expiring"
	// TokenReauthRequired: a person must act; also ahead of the grant's own end.
	TokenReauthRequired Type = "token.reauth_required"
	// TokenRevoked: the grant was withdrawn.
	TokenRevoked Type = "token.revoked"
	// TokenDeleted: the credential was removed.
	TokenDeleted Type = "token.deleted"
	// ProviderPaused: the provider's lane stands still.
	ProviderPaused Type = "provider.paused"
	// ProviderResumed: the provider's lane moves again.
	ProviderResumed Type = "provider.resumed"
)

// Types lists every event type.
func Types() []Type {
	return []Type{
		TokenUpdated, TokenRefreshFailed, TokenExpiring, TokenReauthRequired, TokenRevoked, TokenDeleted,
		ProviderPaused, ProviderResumed,
	}
}

const (
	tokenHead    = "token"
	providerHead = "provider"
	auditHead    = "audit"
)

// AboutProvider reports whether an event of this type concerns a provider; every other type concerns
// one credential. It holds for types that this version does not know, too.
func (t Type) AboutProvider() bool { return strings.HasPrefix(string(t), providerHead+".") }

// wellFormed reports whether t can be a type of this version or of a newer one.
func (t Type) wellFormed() bool {
	head, verb, _ := strings.Cut(string(t), ".")
	for i := range len(verb) {
		if ch := verb[i]; !plain(ch) || ch == '-' || 'A' <= ch && ch <= 'Z' {
			return false
		}
	}
	return verb != "" && (head == tokenHead || head == providerHead)
}

// Reason says why a version exists or why a refresh was asked for.
type Reason string

// The reasons of a new version, and of the job that leads to it.
const (
	ReasonEnrolled  Reason = "enrolled"   // a person, or an import, brought the grant
	ReasonScheduled Reason = "scheduled"  // refresh_at has come
	ReasonDemand    Reason = "demand"     // somebody asked for a newer token
	ReasonCron      Reason = "cron"       // the policy's cron expression
	ReasonKeepAlive Reason = "keep_alive" // the grant would die when idle
	ReasonRecovered Reason = "recovered"  // committed from a journal after a crash or an outage
)

// Event is one thing that happened, as subscribers see it. It never carries a token.
type Event struct {
	// ID is the same each time the same event is told: it is the message's Nats-Msg-Id. TokenEventID and
	// ProviderEventID make it.
	ID string
	// Source says which Freshet process tells, as a URI reference such as "freshet/worker/w1".
	Source string
	Type   Type
	// Time is when it happened, as the teller knows it.
	Time time.Time
	Data Data
	// Trace is where in a distributed trace it happened, for a subscriber that goes on with it. It need not be the same each time
	// the same event is told.
	Trace Trace
}

// Data is an event's JSON body. Token events fill the first block and, where it applies, the
// failure block; provider events fill Provider, Revision, Reason and the pause block.
type Data struct {
	Provider   string    `json:"provider"`
	Account    string    `json:"account,omitempty"`
	GrantID    string    `json:"grant_id,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Version    uint64    `json:"version,omitempty"`
	Revision   uint64    `json:"revision,omitempty"` // KV revision at which it is true
	State      string    `json:"state,omitempty"`
	Reason     Reason    `json:"reason,omitempty"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	Attempt    string    `json:"attempt,omitempty"`

	Class         string    `json:"class,omitempty"` // outcome class
	Code          string    `json:"code,omitempty"`  // the provider's error code (RFC 6749 section 5.2)
	NextAttemptAt time.Time `json:"next_attempt_at,omitzero"`

	By    string    `json:"by,omitempty"` // who paused or resumed
	Until time.Time `json:"until,omitzero"`
}

// Credential returns the credential a token event is about; for a provider event its Account is empty.
func (d Data) Credential() Credential { return Credential{Provider: d.Provider, Account: d.Account} }

// key is the tail of the event's subject: the credential's key, or the provider's name.
func (e Event) key() string {
	if e.Type.AboutProvider() {
		return e.Data.Provider
	}
	return e.Data.Credential().Key()
}

// validate reports everything that keeps e from being told.
func (e *Event) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !slices.Contains(Types(), e.Type) {
		fault("type %q: want one of %v", e.Type, Types())
	}
	if !printable(e.ID) {
		fault("id %q: want printable ASCII without space, \" and %%; TokenEventID and ProviderEventID make one", e.ID)
	}
	if _, err := url.Parse(e.Source); err != nil || !printable(e.Source) {
		fault("source %q: want a URI reference of printable ASCII without space, \" and %%", e.Source)
	}
	if e.Time.IsZero() {
		fault("time: want when it happened")
	}
	if err := e.validateAbout(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func (e *Event) validateAbout() error {
	switch {
	case !e.Type.AboutProvider():
		return e.Data.Credential().Validate()
	case !ValidProvider(e.Data.Provider):
		return providerError(e.Data.Provider)
	case e.Data.Account != "":
		return fmt.Errorf("%w: a provider event names no account, not %q", ErrName, e.Data.Account)
	}
	return nil
}

// printable reports whether s can be a CloudEvents attribute that every reader takes as it stands:
// U+0021 to U+007E without " and %, where the percent-encoding of the NATS binding changes nothing.
func printable(s string) bool {
	for i := range len(s) {
		if ch := s[i]; ch < 0x21 || ch > 0x7e || ch == '"' || ch == '%' {
			return false
		}
	}
	return s != ""
}
