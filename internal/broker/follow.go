package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	followHeartbeat = 5 * time.Second
	// followPatience is how long a consumer may be silent; two heartbeats and a bit.
	followPatience = 12 * time.Second
	// forgetTimeout bounds the deletion of a consumer that is not needed any more; the server also does it by itself.
	forgetTimeout = time.Second
)

// follow is one reading of a stream: what is there, then what comes. It uses a plain ephemeral push consumer with flow
// control, the fastest of the ways measured, and does not resume: it ends when a message may be missing.
type follow struct {
	b           *Broker
	stream      string
	filter      string // subject filter; empty: everything
	headersOnly bool
	after       uint64    // only messages behind this one
	since       time.Time // only messages stored from then on; zero: all. It goes without after
	once        bool      // end when caught up
	handle      func(subject string, m stored) error
	found       func(n uint64) // hears how many messages there are, before the first is handled; nil: nobody
	caughtUp    func()

	inbox string
	end   context.CancelCauseFunc

	mu       sync.Mutex // held while a message is handled, so that nothing is handled after run returned
	ended    bool
	caught   bool
	next     uint64 // consumer sequence of the next message
	initial  uint64 // how many were there at the start
	heard    uint64 // messages, also of control
	counted  uint64 // of them, when somebody looked
	lastSeen time.Time
}

// errCaughtUp ends a follow that wants to read once.
var errCaughtUp = errors.New("caught up")

// run reads until ctx ends (nil), everything was read once (nil), handle fails (its error) or a message may have been missed
// (ErrWatchLost).
func (f *follow) run(ctx context.Context) error {
	inner, end := context.WithCancelCause(ctx)
	f.end, f.inbox, f.next = end, f.b.nc.NewInbox(), 1
	defer end(nil)
	broken := f.b.nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer f.b.nc.RemoveStatusListener(broken)
	// A denied reply to flow control would stall the consumer, a denied inbox starve it.
	inner, stopFC := f.b.inflight.denial(inner, "$JS.FC.")
	defer stopFC()
	inner, stopInbox := f.b.inflight.denial(inner, f.inbox)
	defer stopInbox()

	sub, err := f.b.nc.Subscribe(f.inbox, f.receive)
	if err != nil {
		return fmt.Errorf("watch %s: subscribe: %w", f.stream, err)
	}
	consumer := "watch-" + rand.Text()
	err = f.create(inner, consumer)
	if err == nil {
		err = f.await(inner, sub, broken)
		defer f.b.forgetConsumer(f.stream, consumer)
	}
	f.stop(sub)
	if err = f.cause(ctx, inner, err); err != nil {
		return fmt.Errorf("watch %s: %w", f.stream, err)
	}
	return nil
}

// read runs once over what is there; unlike run, it fails when ctx ends before everything was read.
func (f *follow) read(ctx context.Context) error {
	f.once = true
	if err := f.run(ctx); err != nil || f.caught {
		return err
	}
	return fmt.Errorf("read %s: %w", f.stream, ctx.Err())
}

// cause returns what ended the follow: nil when its owner did or it is done; err when nothing else is known.
func (f *follow) cause(ctx, inner context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if cause := context.Cause(inner); cause != nil {
		err = cause
	}
	if errors.Is(err, errCaughtUp) {
		return nil
	}
	return err
}

// create makes the consumer. The lock makes what arrives at once wait until it is known how much was there.
func (f *follow) create(ctx context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	req := consumerRequest{Stream: f.stream, Action: "create", Config: jetstream.ConsumerConfig{
		Name: name, DeliverSubject: f.inbox, DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
		FilterSubject: f.filter, HeadersOnly: f.headersOnly, FlowControl: true, IdleHeartbeat: followHeartbeat,
		Replicas: 1, MemoryStorage: true,
	}}
	if f.after > 0 {
		req.Config.DeliverPolicy, req.Config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.after+1
	}
	if !f.since.IsZero() {
		req.Config.DeliverPolicy, req.Config.OptStartTime = jetstream.DeliverByStartTimePolicy, &f.since
	}
	var info struct {
		apiReply
		Delivered  jetstream.SequenceInfo `json:"delivered"`
		NumPending uint64                 `json:"num_pending"`
	}
	if err := f.b.api(ctx, consumerCreateSubject(f.stream, name, f.filter), req, &info); err != nil {
		return err
	}
	// Delivery starts before this answer is written: both counts together are what was there.
	f.initial, f.lastSeen = info.NumPending+info.Delivered.Consumer, time.Now()
	if f.found != nil {
		f.found(f.initial)
	}
	f.checkCaughtUp(false)
	return nil
}

// await blocks until the follow is over.
func (f *follow) await(ctx context.Context, sub *nats.Subscription, broken <-chan nats.Status) error {
	tick := time.NewTicker(followHeartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s := <-broken:
			return fmt.Errorf("%w: the connection is %s", ErrWatchLost, s)
		case <-tick.C:
			if f.silent(sub) {
				return fmt.Errorf("%w: nothing heard from the server", ErrWatchLost)
			}
		}
	}
}

// silent reports whether the server has said nothing for too long. A handler that is still busy with what came before
// is no silence.
func (f *follow) silent(sub *nats.Subscription) bool {
	if !f.mu.TryLock() {
		return false
	}
	defer f.mu.Unlock()
	if f.heard != f.counted {
		f.counted, f.lastSeen = f.heard, time.Now()
	}
	waiting, _, err := sub.Pending()
	return (err != nil || waiting == 0) && time.Since(f.lastSeen) > followPatience
}

// stop ends the subscription; when it returns, no handler runs and none will.
func (f *follow) stop(sub *nats.Subscription) {
	_ = sub.Unsubscribe() // fails only when the connection is closed
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}

func (b *Broker) forgetConsumer(stream, name string) {
	if !b.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forgetTimeout)
	defer cancel()
	_ = b.api(ctx, "CONSUMER.DELETE."+stream+"."+name, nil, &apiReply{}) // the server forgets it within seconds anyway
}

// receive takes every message of the subscription, in order, on the client library's goroutine.
func (f *follow) receive(msg *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.heard++
	if err := f.take(msg); err != nil {
		f.ended = true
		f.end(err)
	}
}

func (f *follow) take(msg *nats.Msg) error {
	p, ok := placeOf(msg.Reply)
	if !ok && len(msg.Data) == 0 && first(msg.Header, "Status") == "100" {
		return f.control(msg)
	}
	if !ok {
		return fmt.Errorf("%w: message without metadata: reply subject %.200q", ErrWatchLost, msg.Reply)
	}
	if p.consumer != f.next {
		return fmt.Errorf("%w: got message %d, want %d", ErrWatchLost, p.consumer, f.next)
	}
	f.next++
	m := stored{
		header: msg.Header, data: msg.Data, revision: p.stream, storedAt: time.Unix(0, int64(p.at)),
	}
	if err := f.handle(msg.Subject, m); err != nil {
		return err
	}
	f.checkCaughtUp(false)
	return nil
}

// place is where a delivered message lies, as its reply subject has it.
type place struct {
	stream, consumer uint64 // sequences
	at               uint64 // nanoseconds since 1970 when it was stored
}

// placeOf reads $JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM_SEQ.CONSUMER_SEQ.TIME.PENDING, or the same with domain and account behind
// $JS.ACK and perhaps more at the end. The client library's own reader allocates; this is read for each of a million records.
func placeOf(reply string) (p place, ok bool) {
	skip := 5 // before the stream's sequence
	if n := strings.Count(reply, "."); n >= 10 {
		skip = 7
	} else if n != 8 {
		return place{}, false
	}
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	for range skip - 2 {
		_, rest, _ = strings.Cut(rest, ".")
	}
	for _, into := range []*uint64{&p.stream, &p.consumer, &p.at} {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		n, err := strconv.ParseUint(token, 10, 63)
		*into, ok = n, ok && err == nil
	}
	return p, ok
}

// control answers flow control and checks what a heartbeat says was sent.
func (f *follow) control(msg *nats.Msg) error {
	if msg.Reply != "" {
		return f.resume(msg.Reply)
	}
	stalled := first(msg.Header, "Nats-Consumer-Stalled")
	if stalled != "" {
		if err := f.resume(stalled); err != nil {
			return err
		}
	}
	sent, err := strconv.ParseUint(first(msg.Header, "Nats-Last-Consumer"), 10, 64)
	if err == nil && sent >= f.next {
		return fmt.Errorf("%w: %d messages were sent, %d arrived", ErrWatchLost, sent, f.next-1)
	}
	f.checkCaughtUp(stalled == "")
	return nil
}

func (f *follow) resume(subject string) error {
	if err := f.b.nc.Publish(subject, nil); err != nil {
		return fmt.Errorf("%w: answer flow control: %w", ErrWatchLost, err)
	}
	return nil
}

// checkCaughtUp tells the owner once when what was there at the start has been delivered. Messages come in the stream's
// order, and one that is replaced before its turn comes again at the end: as many as there were are enough. Where some
// were removed without a trace, the server's next heartbeat (idle) says that nothing is left. The server's own count of what is
// pending is no help: it lags behind the writes.
func (f *follow) checkCaughtUp(idle bool) {
	if f.caught || !idle && f.next <= f.initial {
		return
	}
	f.caught = true
	if f.caughtUp != nil {
		f.caughtUp()
	}
	if f.once {
		f.ended = true
		f.end(errCaughtUp)
	}
}
