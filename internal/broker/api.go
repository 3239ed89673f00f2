package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Error codes of the server that the client library does not name.
const (
	codeMaxMsgsPerSubject = 10077 // the work queue holds a job for this subject already
	codeStreamNotMatch    = 10060 // another stream than the expected one took the message
	codeDuplicateInFlight = 10158 // a message with this Msg-Id is being stored (R>1)
)

// apiReply is the head of every answer of the JetStream API.
type apiReply struct {
	Error *jetstream.APIError `json:"error"`
}

func (r *apiReply) fault() *jetstream.APIError { return r.Error }

// api asks JetStream. endpoint comes without the prefix; req nil sends no body.
func (b *Broker) api(ctx context.Context, endpoint string, req any, into faulty) error {
	return b.apiWithin(ctx, b.cfg.RequestTimeout, endpoint, req, into)
}

// faulty is an answer of the API.
type faulty interface{ fault() *jetstream.APIError }

// apiWithin is api for what may take the server long.
func (b *Broker) apiWithin(ctx context.Context, within time.Duration, endpoint string, req any, into faulty) error {
	msg := &nats.Msg{Subject: b.prefix + endpoint}
	if req != nil {
		data, err := json.Marshal(req)
		if err != nil {
			return fmt.Errorf("encode request %s: %w", endpoint, err)
		}
		msg.Data = data
	}
	reply, err := b.requestWithin(ctx, within, msg)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(reply.Data, into); err != nil {
		return fmt.Errorf("decode answer to %s: %w", endpoint, err)
	}
	if e := into.fault(); e != nil {
		return fmt.Errorf("%s: %w", endpoint, apiError(e))
	}
	return nil
}

// apiError adds what to do to the errors that a missing setup causes.
func apiError(e *jetstream.APIError) error {
	if e.ErrorCode == jetstream.JSErrCodeStreamNotFound {
		return fmt.Errorf("%w: %w: run %q", ErrNotSetUp, e, "freshet setup")
	}
	return e
}

// request sends one message and waits for its answer, at most Config.RequestTimeout.
func (b *Broker) request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) {
	return b.requestWithin(ctx, b.cfg.RequestTimeout, msg)
}

func (b *Broker) requestWithin(ctx context.Context, within time.Duration, msg *nats.Msg) (*nats.Msg, error) {
	reply, err := b.inflight.request(ctx, msg, within)
	switch {
	case err == nil:
		return reply, nil
	case errors.Is(err, ErrPermission):
		return nil, err // it names the subject
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("request %s: no answer within %v: %w", msg.Subject, within, err)
	case errors.Is(err, nats.ErrDisconnected):
		return nil, fmt.Errorf("request %s: no answer: %w", msg.Subject, err)
	default:
		return nil, fmt.Errorf("request %s: %w", msg.Subject, err)
	}
}

// pubAck is the server's answer to a publish.
type pubAck struct {
	jetstream.PubAck
	apiReply
}

// publish stores one message in whatever stream takes its subject. Any error leaves unknown whether it is stored,
// unless it is a *jetstream.APIError.
func (b *Broker) publish(ctx context.Context, msg *nats.Msg) (jetstream.PubAck, error) {
	reply, err := b.request(ctx, msg)
	if err != nil {
		return jetstream.PubAck{}, err
	}
	if seq, ok := plainAck(reply.Data); ok {
		return jetstream.PubAck{Sequence: seq}, nil
	}
	var ack pubAck
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return jetstream.PubAck{}, fmt.Errorf("decode acknowledgement of %s: %w", msg.Subject, err)
	}
	if ack.Error != nil {
		return jetstream.PubAck{}, fmt.Errorf("publish %s: %w", msg.Subject, apiError(ack.Error))
	}
	return ack.PubAck, nil
}

// plainAck reads the usual acknowledgement, {"stream":"NAME", "seq":N}, which comes three times for each refresh. Anything else
// is for a real parser.
func plainAck(data []byte) (seq uint64, ok bool) {
	head, tail, found := bytes.Cut(data, []byte(`"seq":`))
	digits, isPlain := bytes.CutSuffix(tail, []byte("}"))
	if !found || !isPlain || !bytes.HasPrefix(head, []byte(`{"stream":"`)) {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		seq = 10*seq + uint64(d-'0')
	}
	return seq, 0 < len(digits) && len(digits) < 20
}

// Publisher returns a publisher of this namespace's events.
func (b *Broker) Publisher() *events.Publisher {
	return events.NewPublisherTo(func(ctx context.Context, msg *nats.Msg) error {
		_, err := b.publish(ctx, msg)
		return err
	}, b.names)
}

// Notifier returns a publisher that waits for nobody: for events that somebody else makes sure of.
func (b *Broker) Notifier() *events.Publisher {
	return events.NewPublisherTo(func(_ context.Context, msg *nats.Msg) error { return b.nc.PublishMsg(msg) }, b.names)
}

// replace stores msg when the last message on its subject is at revision (0: there is none), and returns the new
// revision. Errors are those of refresh.Store's Put.
func (b *Broker) replace(ctx context.Context, msg *nats.Msg, revision uint64) (uint64, error) {
	if msg.Header == nil {
		msg.Header = make(nats.Header, 1)
	}
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(revision, 10)}
	key := msg.Subject
	// A bucket behind a domain or another account is written below that API's prefix, as the KV client does.
	if b.prefix != jetstream.DefaultAPIPrefix {
		msg.Subject = b.prefix + msg.Subject
	}
	ack, err := b.publish(ctx, msg)
	switch {
	case err == nil:
		return ack.Sequence, nil
	case hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, fmt.Errorf("%w: %s is not at revision %d", refresh.ErrConflict, key, revision)
	case errors.Is(err, nats.ErrMaxPayload), hasCode(err, jetstream.JSErrCodeStreamMessageExceedsMaximum):
		return 0, fmt.Errorf("%w: %s: %d bytes: %w", refresh.ErrTooLarge, key, len(msg.Data), err)
	default:
		return 0, err
	}
}

// hasCode reports whether err is an answer of the server with one of these codes.
func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	var e *jetstream.APIError
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.ErrorCode == c {
			return true
		}
	}
	return false
}

// stored is a message as it lies in a stream.
type stored struct {
	subject  string // set by last
	header   nats.Header
	data     []byte
	revision uint64
	storedAt time.Time
}

// deleted reports whether it stands for the absence of a value.
func (m *stored) deleted() bool { return deletionMarker(m.header) }

// last reads the last message on a subject from the stream's leader; ok is false when there is none.
func (b *Broker) last(ctx context.Context, stream, subject string) (m stored, ok bool, err error) {
	var r struct {
		apiReply
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Hdrs    []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	err = b.api(ctx, "STREAM.MSG.GET."+stream, map[string]string{"last_by_subj": subject}, &r)
	switch {
	case hasCode(err, jetstream.JSErrCodeMessageNotFound):
		return stored{}, false, nil
	case err != nil:
		return stored{}, false, err
	}
	m = stored{subject: r.Message.Subject, data: r.Message.Data, revision: r.Message.Seq, storedAt: r.Message.Time}
	if len(r.Message.Hdrs) > 0 {
		if m.header, err = nats.DecodeHeadersMsg(r.Message.Hdrs); err != nil {
			return stored{}, false, fmt.Errorf("read headers of %s: %w", subject, err)
		}
	}
	return m, true, nil
}

// deletionMarker reports whether a message in a bucket stands for the absence of a value: the KV client's marker, or
// the server's when a limit removed the value.
func deletionMarker(h nats.Header) bool {
	switch first(h, "KV-Operation") {
	case "DEL", "PURGE":
		return true
	}
	return first(h, jetstream.MarkerReasonHeader) != ""
}

// first returns a header's first value. Header names are exact: neither NATS nor Freshet canonicalises them.
func first(h nats.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
