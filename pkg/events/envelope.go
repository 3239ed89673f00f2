package events

import (
	"fmt"
	"mime"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

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

// Envelope is what an event and an audit entry have around their data: CloudEvents attributes.
type Envelope struct {
	ID, Type, Source string
	Subject          string // empty: none
	Time             time.Time
	Trace            Trace
}

// Message returns the message with a JSON body that goes to a NATS subject, with the id as Nats-Msg-Id. What the attributes hold is
// the caller's care.
func (e Envelope) Message(subject string, body []byte) *nats.Msg {
	// One piece of memory for all values: thousands of events a second are told.
	v := [...]string{specVersion, e.ID, e.Type, e.Source, e.Subject, e.Time.UTC().Format(time.RFC3339Nano), contentJSON}
	h := nats.Header{
		headerSpecVersion:     v[0:1:1],
		headerID:              v[1:2:2],
		headerType:            v[2:3:3],
		headerSource:          v[3:4:4],
		headerTime:            v[5:6:6],
		headerDataType:        v[6:7:7],
		headerContentType:     v[6:7:7],
		jetstream.MsgIDHeader: v[1:2:2],
	}
	if e.Subject != "" {
		h[headerSubject] = v[4:5:5]
	}
	e.Trace.writeEvent(h)
	return &nats.Msg{Subject: subject, Header: h, Data: body}
}

// ReadEnvelope reads the attributes in a message's headers. It fails where they are no CloudEvent's in binary mode with a JSON body.
func ReadEnvelope(h nats.Header) (Envelope, error) {
	e := Envelope{ID: h.Get(headerID), Type: h.Get(headerType), Source: h.Get(headerSource), Subject: h.Get(headerSubject), Trace: ReadTrace(h)}
	if v := h.Get(headerSpecVersion); !strings.HasPrefix(v, "1.") {
		return Envelope{}, fmt.Errorf("%s is %.20q, want %s", headerSpecVersion, v, specVersion)
	}
	if e.ID == "" {
		return Envelope{}, fmt.Errorf("%s is missing", headerID)
	}
	if err := checkContentType(h.Get(headerContentType)); err != nil {
		return Envelope{}, err
	}
	when := h.Get(headerTime)
	if when == "" { // optional in CloudEvents
		return e, nil
	}
	var err error
	if e.Time, err = time.Parse(time.RFC3339Nano, when); err != nil {
		return Envelope{}, fmt.Errorf("%s is %.60q, want RFC 3339", headerTime, when)
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
