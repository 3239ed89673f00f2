package tokens

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// The headers of an answer to a direct get, and of the marker that a deleted key leaves.
const (
	headerStatus      = "Status"
	headerDescription = "Description"
	headerSequence    = "Nats-Sequence"
	headerSubject     = "Nats-Subject"
	headerOperation   = "KV-Operation"
)

// look reads a credential's record once.
func (c *Client) look(ctx context.Context, cred events.Credential) reading {
	began := time.Now()
	msg, err := c.direct.ask(ctx, c.question(cred))
	r := c.reading(cred, msg, err)
	r.began = began
	return r
}

// question asks for a credential's record.
func (c *Client) question(cred events.Credential) question {
	return question{subject: directGet + c.names.TokensStream() + "." + c.names.RecordSubject(cred), api: true}
}

// reading reads the answer to a question for a record, or what came in its place.
func (c *Client) reading(cred events.Credential, msg *nats.Msg, err error) reading {
	if err != nil {
		return reading{err: fmt.Errorf("%s: %w", cred, err)}
	}
	if status := msg.Header.Get(headerStatus); status != "" {
		return reading{err: fmt.Errorf("%s: %w", cred, statusError(status, msg.Header.Get(headerDescription)))}
	}
	revision, err := strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64)
	if err != nil || msg.Header.Get(headerSubject) != c.names.RecordSubject(cred) {
		return reading{err: fmt.Errorf("%s: %w: the answer is not a record", cred, ErrUnavailable)}
	}
	r := c.decode(cred, msg)
	r.revision = revision
	return r
}

func (c *Client) decode(cred events.Credential, msg *nats.Msg) reading {
	if msg.Header.Get(headerOperation) != "" {
		return reading{err: fmt.Errorf("%s: %w", cred, ErrNotFound)}
	}
	record, err := refresh.DecodeRecord(msg.Data)
	if err != nil {
		return reading{err: fmt.Errorf("%s: %w", cred, err)}
	}
	return read(c.keys, cred, &record, time.Now())
}

// statusError reads an answer that carries no message.
func statusError(status, description string) error {
	switch status {
	case "404":
		return ErrNotFound
	case "503":
		return fmt.Errorf("%w: nobody answers for the bucket: is it set up, and JetStream running?", ErrUnavailable)
	default:
		return fmt.Errorf("%w: %s %s", ErrUnavailable, status, description)
	}
}
