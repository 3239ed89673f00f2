package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrEvent is what every error about a message that cannot be an event wraps.
var ErrEvent = errors.New("malformed event")

// The headers of an event: CloudEvents 1.0 attributes in the binary mode of the NATS binding. The content type is
// sent under both names because released readers disagree about which one counts.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerType        = "ce-type"
	headerSource      = "ce-source"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerDataType    = "ce-datacontenttype"
	headerContentType = "content-type"

	specVersion = "1.0"
	contentJSON = "application/json"
)

// Encode returns the message that tells e, with the subject it goes to and its id as Nats-Msg-Id. It fails,
// with all faults at once, when e is not fit to be told.
func Encode(names Names, e Event) (*nats.Msg, error) {
	if err := e.validate(); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	body, err := json.Marshal(e.Data.utc())
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	key := e.key()
	// One piece of memory for all values: thousands of events a second are told.
	v := [...]string{specVersion, e.ID, string(e.Type), e.Source, key, e.Time.UTC().Format(time.RFC3339Nano), contentJSON}
	msg := &nats.Msg{
		Subject: names.subject(string(e.Type) + "." + key),
		Header: nats.Header{
			headerSpecVersion:     v[0:1:1],
			headerID:              v[1:2:2],
			headerType:            v[2:3:3],
			headerSource:          v[3:4:4],
			headerSubject:         v[4:5:5],
			headerTime:            v[5:6:6],
			headerDataType:        v[6:7:7],
			headerContentType:     v[6:7:7],
			jetstream.MsgIDHeader: v[1:2:2],
		},
		Data: body,
	}
	e.Trace.writeEvent(msg.Header)
	return msg, nil
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
	e := Event{ID: h.Get(headerID), Type: Type(h.Get(headerType)), Source: h.Get(headerSource), Trace: ReadTrace(h)}
	if v := h.Get(headerSpecVersion); !strings.HasPrefix(v, "1.") {
		return Event{}, fmt.Errorf("%s is %.20q, want %s", headerSpecVersion, v, specVersion)
	}
	if e.ID == "" {
		return Event{}, fmt.Errorf("%s is missing", headerID)
	}
	if err := checkContentType(h.Get(headerContentType)); err != nil {
		return Event{}, err
	}
	when := h.Get(headerTime)
	if when == "" { // optional in CloudEvents
		return e, nil
	}
	var err error
	if e.Time, err = time.Parse(time.RFC3339Nano, when); err != nil {
		return Event{}, fmt.Errorf("%s is %.60q, want RFC 3339", headerTime, when)
	}
	e.Time = e.Time.UTC()
	return e, nil
}

// checkContentType refuses what is certainly not a JSON body: another format, or a CloudEvent in structured mode.
func checkContentType(v string) error {
	if v == "" || v == contentJSON {
		return nil
	}
	if media, _, err := mime.ParseMediaType(v); err != nil || media != contentJSON {
		return fmt.Errorf("%s is %.60q, want %s", headerContentType, v, contentJSON)
	}
	return nil
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
