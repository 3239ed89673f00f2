package events

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/flatjson"
)

// ErrEvent is what every error about a message that cannot be an event wraps.
var ErrEvent = errors.New("malformed event")

// Encode returns the message that tells e, with the subject it goes to and its id as Nats-Msg-Id. It fails,
// with all faults at once, when e is not fit to be told.
func Encode(names Names, e Event) (*nats.Msg, error) {
	if err := e.validate(); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	body, err := e.Data.encode()
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	key := e.key()
	head := Envelope{ID: e.ID, Type: string(e.Type), Source: e.Source, Subject: key, Time: e.Time, Trace: e.Trace}
	return head.Message(names.subject(string(e.Type)+"."+key), body), nil
}

// encode is what json.Marshal would make of d, with all times in UTC.
func (d Data) encode() ([]byte, error) {
	o := flatjson.New(384)
	o.Text("provider", d.Provider)
	o.TextIf("account", d.Account)
	o.TextIf("grant_id", d.GrantID)
	o.UintIf("generation", d.Generation)
	o.UintIf("version", d.Version)
	o.UintIf("revision", d.Revision)
	o.TextIf("state", d.State)
	o.TextIf("reason", string(d.Reason))
	o.TimeIf("expires_at", d.ExpiresAt.UTC())
	o.TextIf("attempt", d.Attempt)
	o.TextIf("class", d.Class)
	o.TextIf("code", d.Code)
	o.TimeIf("next_attempt_at", d.NextAttemptAt.UTC())
	o.TextIf("by", d.By)
	o.TimeIf("until", d.Until.UTC())
	return o.Done()
}

// Decode reads the event that a message tells. It needs the message's subject, headers and data only, however
// they arrived. Headers, members and types that this version does not know are no error; a subject that does not
// fit the data is. Its errors wrap ErrEvent.
func Decode(names Names, msg *nats.Msg) (Event, error) {
	t, key, err := names.ParseEventSubject(msg.Subject)
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	e, err := decodeAttributes(msg.Header)
	if err == nil {
		err = decodeData(msg.Data, &e.Data)
	}
	if err == nil {
		err = e.matches(t, key, msg.Header.Get(headerSubject))
	}
	if err != nil {
		return Event{}, fmt.Errorf("%w on %s: %w", ErrEvent, msg.Subject, err)
	}
	return e, nil
}

func decodeAttributes(h nats.Header) (Event, error) {
	head, err := ReadEnvelope(h)
	return Event{ID: head.ID, Type: Type(head.Type), Source: head.Source, Time: head.Time, Trace: head.Trace}, err
}

func decodeData(body []byte, d *Data) error {
	if err := json.Unmarshal(body, d); err != nil {
		return fmt.Errorf("read data: %w", err)
	}
	*d = d.utc()
	return nil
}

// matches holds the event against the subject it came on.
func (e Event) matches(t Type, key, subject string) error {
	if e.Type != t {
		return fmt.Errorf("%s is %.60q", headerType, e.Type)
	}
	if err := e.validateAbout(); err != nil {
		return err
	}
	if e.key() != key {
		return fmt.Errorf("the data is about %q", e.key())
	}
	if subject != "" && subject != key {
		return fmt.Errorf("%s is %.250q", headerSubject, subject)
	}
	return nil
}

// utc returns d with all times in UTC, as they are written.
func (d Data) utc() Data {
	d.ExpiresAt, d.NextAttemptAt, d.Until = d.ExpiresAt.UTC(), d.NextAttemptAt.UTC(), d.Until.UTC()
	return d
}
