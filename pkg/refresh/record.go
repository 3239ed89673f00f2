package refresh

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// SchemaVersion is the version of the record that this package writes.
const SchemaVersion = 1

// State is the health of a credential.
type State string

// The states. A record in StateRevoked or StateDeleted is a tombstone without secrets.
const (
	StateActive         State = "active"          // healthy
	StateRetrying       State = "retrying"        // the last attempt failed and may pass
	StateUncertain      State = "uncertain"       // an outcome is unknown and the provider forbids a second try
	StateReauthRequired State = "reauth_required" // only a person can help
	StateRevoked        State = "revoked"         // withdrawn
	StateDeleted        State = "deleted"         // removed
)

// Refreshable reports whether a scheduler asks for refreshes in this state.
func (s State) Refreshable() bool {
	return s == StateActive || s == StateRetrying || s == StateUncertain
}

// Withdrawn reports whether the record is a tombstone.
func (s State) Withdrawn() bool { return s == StateRevoked || s == StateDeleted }

// Record is the KV value of a credential: the single source of truth. Its metadata is readable by
// every NATS client that may read the bucket; Access and Grant are sealed. Each writer changes only
// what is its own, so a claim survives a pause and a pause survives a refresh.
type Record struct {
	V              int             `json:"v"`
	Provider       string          `json:"provider"`
	Account        string          `json:"account"`
	GrantID        string          `json:"grant_id"`
	Generation     uint64          `json:"generation"` // +1 with every enrolment or import
	Version        uint64          `json:"version"`    // +1 with every new access token, never reset
	State          State           `json:"state"`
	Paused         *provider.Pause `json:"paused,omitempty"`
	Scopes         []string        `json:"scopes,omitempty"`
	Narrowed       []string        `json:"narrowed,omitempty"` // scopes asked for and not granted
	TokenType      string          `json:"token_type,omitempty"`
	Subject        string          `json:"subject,omitempty"`   // who agreed, in the provider's words (sub); empty: not known
	GrantedAt      time.Time       `json:"granted_at,omitzero"` // when a person agreed; zero: not known
	IssuedAt       time.Time       `json:"issued_at,omitzero"`
	ExpiresAt      time.Time       `json:"expires_at,omitzero"` // zero: the token has no end
	RefreshAt      time.Time       `json:"refresh_at,omitzero"` // zero: never due by itself
	GrantExpiresAt time.Time       `json:"grant_expires_at,omitzero"`
	Policy         *Policy         `json:"policy,omitempty"`
	Claim          *Claim          `json:"claim,omitempty"`
	Doubt          *Doubt          `json:"doubt,omitempty"`
	Failure        *Failure        `json:"failure,omitempty"`
	Last           *Last           `json:"last,omitempty"`
	Meta           json.RawMessage `json:"meta,omitempty"` // non-secret extras of the token reply
	Access         []byte          `json:"access,omitempty"`
	Grant          []byte          `json:"grant,omitempty"`

	// unknown holds the fields of a newer schema, so that a rewrite by older code keeps them.
	unknown map[string]json.RawMessage
	// nested holds the objects among the known fields, when some field is unknown.
	nested map[string]object
}

// Policy is a credential's own wish, beside its provider's.
type Policy struct {
	Cron      string            `json:"cron,omitempty"`
	KeepAlive provider.Duration `json:"keep_alive,omitzero"`
}

// Claim says that an attempt is about to present this record's refresh token. Its age is counted from
// the timestamp NATS gave the message that carries it.
type Claim struct {
	Attempt string            `json:"attempt"`
	Worker  string            `json:"worker"`
	TTL     provider.Duration `json:"ttl"` // then follows the quarantine
	// At is when its author began to send it, in NATS time. It only bounds from below when the refresh token may
	// have been presented; the claim's age is never counted from it.
	At time.Time `json:"at"`
}

// Doubt remembers attempts that may have spent the refresh token without anybody hearing the answer.
type Doubt struct {
	Attempt     string    `json:"attempt"` // the latest of them
	Worker      string    `json:"worker"`
	FirstSentAt time.Time `json:"first_sent_at"` // of the earliest of them
	// Earlier: it is not the only one of unknown outcome.
	Earlier bool `json:"earlier,omitempty"`
	// Inactive: the provider, asked by introspection since the latest of them, does not call the refresh token active.
	Inactive bool `json:"inactive,omitempty"`
	// Restored: the record came out of a backup. The refresh token may have been spent since, and successors of it used.
	Restored bool `json:"restored,omitempty"`
}

// Failure is the run of failed attempts since the last success.
type Failure struct {
	Count  int       `json:"count"`
	Since  time.Time `json:"since"`
	Class  Class     `json:"class"`
	Code   string    `json:"code,omitempty"`
	Status int       `json:"status,omitempty"`
	At     time.Time `json:"at"`
}

// Last is the most recent attempt whose outcome was committed.
type Last struct {
	Attempt string        `json:"attempt"`
	Outcome Class         `json:"outcome"`
	Reason  events.Reason `json:"reason,omitempty"` // of the job; an event that is told again says the same
}

// Credential returns the name the record lives under.
func (r *Record) Credential() events.Credential {
	return events.Credential{Provider: r.Provider, Account: r.Account}
}

// Stored is a record as it lies in the bucket.
type Stored struct {
	Record   Record
	Revision uint64    // what the next write is conditional on; 0: there is none
	StoredAt time.Time // the timestamp NATS gave this revision
	// Headerless: the message lacks the headers a scheduler reads, or has some that it cannot read.
	Headerless bool
}

// grantIDEncoding gives 10 random bytes 16 characters that need no escaping anywhere.
var grantIDEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewGrantID draws the id of a new grant: 80 random bits.
func NewGrantID() string { return randomID() }

// NewAttemptID draws the id of an attempt: 80 random bits.
func NewAttemptID() string { return randomID() }

func randomID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return grantIDEncoding.EncodeToString(b[:])
}

// PackGrantID returns the ten bytes behind an id drawn by NewGrantID; ok is false for any other text.
func PackGrantID(id string) (packed [10]byte, ok bool) {
	if len(id) != 16 || strings.ContainsAny(id, "\r\n") {
		return packed, false
	}
	n, err := grantIDEncoding.Decode(packed[:], []byte(id))
	return packed, err == nil && n == len(packed)
}

// UnpackGrantID is the inverse of PackGrantID.
func UnpackGrantID(packed [10]byte) string { return grantIDEncoding.EncodeToString(packed[:]) }
