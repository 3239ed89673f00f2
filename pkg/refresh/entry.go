package refresh

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/freshetdev/freshet/internal/flatjson"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Entry is one outcome in a worker's journal.
type Entry struct {
	ID   string // the attempt
	Key  string // the credential's key
	Data []byte // sealed
	// Revision of the commit; 0 while it is not known.
	Revision uint64
}

// Journal keeps outcomes until their commit is safe. Implementations MUST let an appended entry survive the death of
// the process.
type Journal interface {
	// Append adds an outcome whose commit is not known yet.
	Append(e Entry) error
	// Committed says that the outcome is in the store at this revision.
	Committed(id string, revision uint64) error
	// Drop forgets an outcome that nothing will ever be done with.
	Drop(id string) error
	// SetAside keeps a reply that came too late, for a person to look at.
	SetAside(id, reason string) error
}

// Ticket says to which attempt an outcome belongs, and where its commit goes.
type Ticket struct {
	Attempt    string        `json:"attempt"`
	Worker     string        `json:"worker"`
	Key        string        `json:"key"`
	GrantID    string        `json:"grant_id"`
	Generation uint64        `json:"generation"`
	Version    uint64        `json:"version"` // before the attempt
	Reason     events.Reason `json:"reason"`
	// Skew is NATS time minus the local time that Outcome's times were taken in, in nanoseconds.
	Skew int64 `json:"skew"`
}

// journalled is what an entry's sealed data holds.
type journalled struct {
	Ticket
	Outcome Outcome `json:"outcome"`
}

// encode is what json.Marshal would make of j.
func (j journalled) encode() ([]byte, error) {
	o := flatjson.New(560 + base64.StdEncoding.EncodedLen(len(j.Outcome.Body)))
	o.Text("attempt", j.Attempt)
	o.Text("worker", j.Worker)
	o.Text("key", j.Key)
	o.Text("grant_id", j.GrantID)
	o.Uint("generation", j.Generation)
	o.Uint("version", j.Version)
	o.Text("reason", string(j.Reason))
	o.Int("skew", j.Skew)
	o.Begin("outcome")
	j.Outcome.encode(o)
	o.End()
	return o.Done()
}

// journalField binds a journal entry's ciphertext to its place, as a record's fields are bound to theirs.
const journalField = "journal/"

// SealOutcome returns the journal's form of an outcome.
func (k Keys) SealOutcome(t Ticket, o Outcome) (Entry, error) {
	plain, err := journalled{Ticket: t, Outcome: o}.encode()
	if err != nil {
		return Entry{}, fmt.Errorf("seal outcome of attempt %s: %w", t.Attempt, err)
	}
	data, err := k.Grant.Seal(plain, k.entryBinding(t.Attempt, t.Key))
	if err != nil {
		return Entry{}, fmt.Errorf("seal outcome of attempt %s: %w", t.Attempt, err)
	}
	return Entry{ID: t.Attempt, Key: t.Key, Data: data}, nil
}

func (k Keys) openEntry(e Entry) (journalled, error) {
	plain, err := k.Grant.Open(e.Data, k.entryBinding(e.ID, e.Key))
	if err != nil {
		return journalled{}, fmt.Errorf("open journalled outcome of attempt %s: %w", e.ID, err)
	}
	var j journalled
	if err := json.Unmarshal(plain, &j); err != nil {
		return journalled{}, fmt.Errorf("open journalled outcome of attempt %s: %w", e.ID, err)
	}
	return j, nil
}

func (k Keys) entryBinding(attempt, key string) seal.Binding {
	return seal.Binding{Bucket: k.Bucket, Key: key, Field: journalField + attempt}
}
