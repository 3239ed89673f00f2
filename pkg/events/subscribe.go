package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// SubscribeConfig is what Live, Durable and Replay have in common. The zero value hears everything in the
// default namespace; only Durable needs more: a name.
type SubscribeConfig struct {
	Names  Names
	Filter Filter

	// OnError hears what went wrong and was survived: a message that is no event, events that a slow handler missed, a
	// handler's failure, a lost consumer. It is called from the subscriber's goroutine. nil: nobody is told.
	OnError func(error)
	// OnReady is called once, when every event told from now on will be delivered. nil: nobody is told.
	OnReady func()

	// Since: Replay, and a Durable name that is new, begin with what was stored at or after this time. Zero: Replay
	// begins with the oldest event that is kept, a new name with the next event. time.Unix(0, 0) is before all events.
	Since time.Time
	// Follow makes Replay go on with new events.
	Follow bool

	// Durable is the name under which Durable resumes: 1 to 64 of A-Z, a-z, 0-9, - and _.
	Durable string
	// AckWait is how long the server waits for Durable to handle an event before it sends it again, when it creates the
	// name. Zero: a minute.
	AckWait time.Duration
	// RetryDelay is how long after a failure of Durable's handler the event comes again. Zero: a second.
	RetryDelay time.Duration

	// heartbeat is how often the server shows a reader that it is there; tests cannot wait for the usual pace.
	heartbeat time.Duration
}

func (c SubscribeConfig) withDefaults() SubscribeConfig {
	c.AckWait = cmp.Or(c.AckWait, time.Minute)
	c.RetryDelay = cmp.Or(c.RetryDelay, time.Second)
	c.heartbeat = cmp.Or(c.heartbeat, 5*time.Second)
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	if c.OnReady == nil {
		c.OnReady = func() {}
	}
	return c
}

// A Handler handles one event. What its error means, the function that calls it says.
type Handler func(ctx context.Context, e Event) error

// A session reads from one consumer. It calls opened when it is under way, and returns nil when there is no more to do.
type session func(ctx context.Context, opened func()) error

// persist runs one session after another, with growing pauses, until one of them ends without an error
// or cannot go on. Until the first one is under way, a definite refusal by the server ends persist: a wrong name
// should not look like an outage. Afterwards nothing does but ctx, a closed connection and a handler. When ctx
// ended, persist returns ctx's error.
func persist(ctx context.Context, nc *nats.Conn, cfg SubscribeConfig, run session) error {
	var pause backoff
	underWay := false
	for {
		err := run(ctx, func() {
			pause = backoff{}
			if !underWay {
				underWay = true
				cfg.OnReady()
			}
		})
		switch {
		case err == nil || errors.As(err, new(*handlerError)):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case nc.IsClosed():
			return fmt.Errorf("subscribe: %w", nats.ErrConnectionClosed)
		}
		if denied := violation(nc, "."+cfg.Names.EventsStream()+"."); denied != nil {
			err = fmt.Errorf("%w (%w)", err, denied)
		}
		if !underWay && refused(err) {
			return err
		}
		cfg.OnError(err)
		pause.wait(ctx)
	}
}

// handlerError is a failure of the caller's own handler that ends a session.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return "handle event: " + e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// violation returns the server's latest refusal when it names something that contains about. The server does
// not answer a request it denies; this tells such a timeout from an outage.
func violation(nc *nats.Conn, about string) error {
	if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), about) {
		return err
	}
	return nil
}

// refused reports whether trying again as things are can only give the same answer. 503 is what a server
// says that is not ready yet.
func refused(err error) bool {
	if errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, jetstream.ErrNotPullConsumer) {
		return true
	}
	var answer jetstream.JetStreamError
	if !errors.As(err, &answer) || answer.APIError() == nil {
		return false
	}
	const unavailable = 503
	return answer.APIError().Code != unavailable && !errors.Is(err, jetstream.ErrConsumerExists)
}

// backoff is a growing pause. Its jitter keeps the subscribers of a server that comes back from calling all at once.
type backoff struct{ next time.Duration }

// wait pauses, or returns early when ctx ends.
func (b *backoff) wait(ctx context.Context) {
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	d := cmp.Or(b.next, shortest)
	b.next = min(2*d, longest)
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// requestContext bounds one request to JetStream, also where ctx has a deadline that is far away.
func requestContext(ctx context.Context, js jetstream.JetStream) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, js.Options().DefaultTimeout)
}

// pull reads from a consumer. It holds some messages ready, and fails when two heartbeats are missing.
func pull(cons jetstream.Consumer, cfg SubscribeConfig) (jetstream.MessagesContext, error) {
	const ready, expiry = 128, 30 * time.Second
	return cons.Messages(jetstream.PullMaxMessages(ready), jetstream.PullExpiry(expiry), jetstream.PullHeartbeat(cfg.heartbeat))
}

// fromStream reads the event in a JetStream message.
func fromStream(names Names, msg jetstream.Msg) (Event, error) {
	return Decode(names, &nats.Msg{Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data()})
}

// setFilter selects subjects. A single one goes into the API subject as well, where a permission can be scoped to it.
func setFilter(cfg *jetstream.ConsumerConfig, subjects []string) {
	cfg.FilterSubject, cfg.FilterSubjects = "", nil
	if len(subjects) == 1 {
		cfg.FilterSubject = subjects[0]
		return
	}
	cfg.FilterSubjects = slices.Clone(subjects)
}

// filterOf is the inverse of setFilter; it is empty for a consumer of everything.
func filterOf(cfg jetstream.ConsumerConfig) []string {
	if cfg.FilterSubject != "" {
		return []string{cfg.FilterSubject}
	}
	return cfg.FilterSubjects
}
