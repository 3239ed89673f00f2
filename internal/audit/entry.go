package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

// Action is what was asked for. It is the second part of the subject and of the CloudEvents type.
type Action string

// The actions.
const (
	Enrolled    Action = "enrolled"     // a person agreed, or a grant that needs nobody was asked for
	Imported    Action = "imported"     // grants that were made elsewhere: an entry at the begin and one at the end
	LinkMade    Action = "link_made"    // somebody may connect an account
	TokenRead   Action = "token_read"   // an agent handed out an access token
	Revoked     Action = "revoked"      // a grant is withdrawn, here and at its provider
	Deleted     Action = "deleted"      // a credential is removed
	Paused      Action = "paused"       // of a lane or a credential
	Resumed     Action = "resumed"      // of a lane or a credential
	Applied     Action = "applied"      // a provider's definition
	SetUp       Action = "set_up"       // streams, buckets and lanes
	KeysRotated Action = "keys_rotated" // a step of a keyset's rotation
	Rewrapped   Action = "rewrapped"    // what is stored is sealed with newer keys
	BackedUp    Action = "backed_up"    // a copy leaves NATS
	Restored    Action = "restored"     // a copy comes back
)

// Actions lists every action.
func Actions() []Action {
	return []Action{
		Enrolled, Imported, LinkMade, TokenRead, Revoked, Deleted, Paused, Resumed, Applied, SetUp, KeysRotated, Rewrapped, BackedUp, Restored,
	}
}

// Entry is one thing that was asked for.
type Entry struct {
	ID     string // also the Nats-Msg-Id; a Log gives it
	Source string // which Freshet process writes, as an event's
	Action Action
	Time   time.Time // as the writer knows it; the stream has the server's
	Trace  events.Trace
	Data   Data
}

// Data is an entry's JSON body.
type Data struct {
	Provider string `json:"provider,omitempty"`
	Account  string `json:"account,omitempty"`
	Actor    Actor  `json:"actor"`
	// Caller is who asked the actor, where the actor is an agent.
	Caller *Caller `json:"caller,omitempty"`
	Via    string  `json:"via,omitempty"`  // how it was asked for: login, device, mint, link, admin, http, …
	Link   string  `json:"link,omitempty"` // id of a connect link
	Detail string  `json:"detail,omitempty"`

	Begin  string         `json:"begin,omitempty"` // at an end: the id of the entry at its begin
	Counts map[string]int `json:"counts,omitempty"`

	Count   int       `json:"count,omitempty"` // of reads, from First to Last
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	Dropped int       `json:"dropped,omitempty"` // reads that could not be kept since the entry before

	// References of tokens: see seal.Keyset.Reference.
	RefreshTokenRef string `json:"refresh_token_ref,omitempty"`
	AccessTokenRef  string `json:"access_token_ref,omitempty"`
}

// Actor is who wrote an entry, in its own words.
type Actor struct {
	Program  string `json:"program"`
	OSUser   string `json:"os_user,omitempty"`
	UID      int    `json:"uid"` // -1: this system has none
	Host     string `json:"host,omitempty"`
	NATSUser string `json:"nats_user,omitempty"`
}

// Caller is who asked an agent: what the kernel told of the other end of a Unix socket, or whose secret was shown on loopback.
type Caller struct {
	Name    string  `json:"name,omitempty"` // in the agent's configuration
	UID     *uint32 `json:"uid,omitempty"`
	GID     *uint32 `json:"gid,omitempty"`
	PID     int32   `json:"pid,omitempty"`     // of the last one, where many reads are one entry
	Program string  `json:"program,omitempty"` // as the process calls itself
}

// About returns an entry of an action about a credential, or about a provider where there is no account.
func About(a Action, c events.Credential) Entry {
	return Entry{Action: a, Data: Data{Provider: c.Provider, Account: c.Account}}
}

// Subject is what the entry is about: PROVIDER/ACCOUNT, PROVIDER, or nothing.
func (e Entry) Subject() string {
	return strings.TrimSuffix(e.Data.Provider+"/"+e.Data.Account, "/")
}

// key is the tail of the NATS subject.
func (e Entry) key() string {
	if e.Data.Account == "" {
		return e.Data.Provider
	}
	return events.Credential{Provider: e.Data.Provider, Account: e.Data.Account}.Key()
}

// ErrEntry is what every error about a message that cannot be an entry wraps.
var ErrEntry = errors.New("malformed audit entry")

// typeHead is what CloudEvents types of entries begin with.
const typeHead = "audit."

// encode returns the message of an entry.
func (e Entry) encode(names events.Names) (*nats.Msg, error) {
	if err := e.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	body, err := json.Marshal(e.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	head := events.Envelope{ID: e.ID, Type: typeHead + string(e.Action), Source: e.Source, Subject: e.key(), Time: e.Time, Trace: e.Trace}
	return head.Message(names.AuditSubject(string(e.Action), e.key()), body), nil
}

func (e Entry) validate() error {
	d := e.Data
	switch {
	case !slices.Contains(Actions(), e.Action):
		return fmt.Errorf("action %q: want one of %v", e.Action, Actions())
	case d.Account != "":
		return events.Credential{Provider: d.Provider, Account: d.Account}.Validate()
	case d.Provider != "" && !events.ValidProvider(d.Provider):
		return fmt.Errorf("%w: provider %.60q", events.ErrName, d.Provider)
	}
	return nil
}

// Decode reads the entry that a message holds. Members and actions that this version does not know are no error; a subject that does
// not fit the data is. Its errors wrap ErrEntry.
func Decode(names events.Names, msg *nats.Msg) (Entry, error) {
	action, key, ok := names.AuditAction(msg.Subject)
	if !ok {
		return Entry{}, fmt.Errorf("%w: subject %.250q is not an entry's", ErrEntry, msg.Subject)
	}
	head, err := events.ReadEnvelope(msg.Header)
	if err != nil {
		return Entry{}, fmt.Errorf("%w on %s: %w", ErrEntry, msg.Subject, err)
	}
	e := Entry{ID: head.ID, Source: head.Source, Action: Action(action), Time: head.Time, Trace: head.Trace}
	if err := json.Unmarshal(msg.Data, &e.Data); err != nil {
		return Entry{}, fmt.Errorf("%w on %s: read data: %w", ErrEntry, msg.Subject, err)
	}
	if head.Type != typeHead+action || e.key() != key {
		return Entry{}, fmt.Errorf("%w on %s: it says it is %.60q about %.250q", ErrEntry, msg.Subject, head.Type, e.key())
	}
	return e, nil
}
