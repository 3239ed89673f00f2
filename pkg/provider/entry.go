package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// EntryVersion is the version of the entry that this package writes.
const EntryVersion = 1

// ErrMalformed: an entry of the providers bucket cannot be read.
var ErrMalformed = errors.New("provider entry cannot be read")

// Entry is a provider as it lies in the providers bucket, under its name: the definition, its client secrets sealed,
// and whether its lane stands still. Its JSON is readable by whoever may read the bucket.
//
// Several write it: who applies a file, who pauses, every worker and scheduler. Each reads, changes what is its own
// and writes by compare-and-set; members that a newer version has added stay as they were. The pause
// is one thing: who writes it writes all of it.
type Entry struct {
	V int `json:"v"` // a newer version's number is kept
	Definition
	// ClientSecrets are the sealed form of Definition.ClientSecrets, in its order: what SealSecrets writes and
	// OpenSecrets reads.
	ClientSecrets [][]byte `json:"client_secrets,omitempty"`
	AssertionKey  []byte   `json:"assertion_key,omitempty"` // the sealed form of Definition.AssertionKey
	MovedFrom     [][]byte `json:"moved_from,omitempty"`    // the sealed form of Definition.MovedFrom
	Endpoints     []byte   `json:"endpoints,omitempty"`     // the sealed form of the addresses that are shown tokens
	Pause         *Pause   `json:"pause,omitempty"`         // of the lane; nil: it runs
	// RejectionsSince is when a pause for PauseRejections ended: what the provider said about grants before that does not
	// count. Zero: all of it does.
	RejectionsSince time.Time `json:"rejections_since,omitzero"`

	// unknown is what DecodeEntry found and no field took: a JSON object, nil when there was nothing.
	unknown json.RawMessage
}

// Suspect reports whether a rejection of that instant says more about the provider than about the grant.
func (e *Entry) Suspect(rejected, now time.Time) bool {
	return e.Pause.Active(now) && e.Pause.Reason == PauseRejections || rejected.Before(e.RejectionsSince)
}

// EncodeEntry returns the entry's stored form. It holds no open secret.
func EncodeEntry(e Entry) ([]byte, error) {
	if e.V == 0 {
		e.V = EntryVersion
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode provider %s: %w", e.Name, err)
	}
	return addMembers(data, e.unknown), nil
}

// DecodeEntry reads the entry stored under a provider's name, of this version or a newer one. The secrets stay
// sealed. Errors wrap ErrMalformed.
func DecodeEntry(name string, data []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(data, &e); err != nil {
		return Entry{}, fmt.Errorf("provider %s: %w: %w", name, ErrMalformed, err)
	}
	e.Name = name
	switch {
	case e.V < 1:
		return Entry{}, fmt.Errorf("provider %s: %w: no version", name, ErrMalformed)
	case !validName(name):
		return Entry{}, fmt.Errorf("provider %q: %w: this cannot name a provider", name, ErrMalformed)
	}
	known, err := json.Marshal(e)
	if err != nil {
		return Entry{}, fmt.Errorf("provider %s: %w: %w", name, ErrMalformed, err)
	}
	e.unknown = otherMembers(data, known, "pause")
	return e, nil
}

// otherMembers returns the members of the object data that the object known does not have, at any depth but
// below the members called whole; nil when there are none.
func otherMembers(data, known json.RawMessage, whole ...string) json.RawMessage {
	all, ok1 := members(data)
	have, ok2 := members(known)
	if !ok1 || !ok2 {
		return nil // a value that a field took
	}
	for name, value := range all {
		if slices.Contains(whole, name) {
			delete(all, name)
		} else if old, ok := have[name]; ok {
			all[name] = otherMembers(value, old)
		}
	}
	maps.DeleteFunc(all, func(_ string, value json.RawMessage) bool { return value == nil })
	if len(all) == 0 {
		return nil
	}
	return join(all)
}

// addMembers is the inverse of otherMembers: data with the members of extra that it lacks.
func addMembers(data, extra json.RawMessage) json.RawMessage {
	more, ok1 := members(extra)
	have, ok2 := members(data)
	if !ok1 || !ok2 {
		return data
	}
	for name, value := range more {
		if old, ok := have[name]; ok {
			value = addMembers(old, value)
		}
		have[name] = value
	}
	return join(have)
}

// members reads a JSON object; ok is false for every other value.
func members(data json.RawMessage) (m map[string]json.RawMessage, ok bool) {
	err := json.Unmarshal(data, &m)
	return m, err == nil && m != nil
}

func join(m map[string]json.RawMessage) json.RawMessage {
	data, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("join JSON members: %v", err)) // each was read from JSON
	}
	return data
}
