package broker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// inflight are the requests of a connection that wait for their answers, all at one inbox. It ties to them what the
// connection reports by itself, or they would run into their timeout: that a subject is denied, and that the connection an
// answer was to come by is gone.
type inflight struct {
	nc    *nats.Conn
	inbox string          // a request's number follows
	next  nats.ErrHandler // who else hears of the connection's errors; nil: nobody
	idle  sync.Pool       // of *waiter

	mu         sync.Mutex
	subscribed bool
	last       uint64
	waiting    map[uint64]*waiter // by number
	watching   map[*watcher]struct{}
	denied     error // the subscription that answers come to
}

// waiter waits for an answer to a request. It is used again once it had one.
type waiter struct {
	subject string
	answer  chan answer // takes one
	late    *time.Timer
}

type answer struct {
	msg *nats.Msg
	err error
}

// watcher waits for a denial, for as long as something goes on.
type watcher struct {
	subject string
	cancel  context.CancelCauseFunc
}

// inflightOn returns the one that hears what nc reports: the one that is there already, as its error handler, or a new one in
// front of the handlers that there are.
func inflightOn(nc *nats.Conn) *inflight {
	standing := nc.ErrorHandler()
	if sameCode(standing, new(inflight).hear) {
		var who askInflight
		standing(nc, nil, &who)
		return who.inflight
	}
	f := &inflight{
		nc: nc, inbox: nc.NewInbox() + ".", next: standing,
		waiting: make(map[uint64]*waiter), watching: make(map[*watcher]struct{}),
	}
	nc.SetErrorHandler(f.hear)
	disconnected := nc.DisconnectErrHandler()
	nc.SetDisconnectErrHandler(func(nc *nats.Conn, err error) {
		f.disconnected()
		if disconnected != nil {
			disconnected(nc, err)
		}
	})
	return f
}

// sameCode reports whether two handlers are the same method, of whatever value.
func sameCode(a, b nats.ErrHandler) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// askInflight is no error of the connection: it asks the handler whose it is.
type askInflight struct{ inflight *inflight }

func (*askInflight) Error() string { return "whose error handler is this?" }

// hear is the connection's error handler.
func (f *inflight) hear(nc *nats.Conn, sub *nats.Subscription, err error) {
	//nolint:errorlint // a question, never wrapped
	if who, ok := err.(*askInflight); ok {
		who.inflight = f
		return
	}
	f.failed(err)
	if f.next != nil {
		f.next(nc, sub, err)
	}
}

// request sends msg and waits for its answer. Errors: ErrPermission, nats.ErrDisconnected, nats.ErrNoResponders, what ended ctx,
// context.DeadlineExceeded after the given time.
func (f *inflight) request(ctx context.Context, msg *nats.Msg, within time.Duration) (*nats.Msg, error) {
	w := f.waiter(msg.Subject, within)
	number, err := f.enter(w)
	if err != nil {
		return nil, err
	}
	msg.Reply = f.inbox + strconv.FormatUint(number, 36)
	if err := f.nc.PublishMsg(msg); err != nil {
		f.leave(number)
		return nil, err
	}
	select {
	case a := <-w.answer:
		w.late.Stop()
		f.idle.Put(w) // it has had the one answer that it gets
		return a.msg, a.err
	case <-ctx.Done():
		f.leave(number)
		return nil, ctx.Err()
	case <-w.late.C:
		f.leave(number)
		return nil, f.late()
	}
}

// waiter returns one for a request that begins now.
func (f *inflight) waiter(subject string, within time.Duration) *waiter {
	w, ok := f.idle.Get().(*waiter)
	if !ok {
		w = &waiter{answer: make(chan answer, 1), late: time.NewTimer(within)}
	}
	w.late.Reset(within)
	w.subject = subject
	return w
}

// late says why there is no answer.
func (f *inflight) late() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.denied != nil {
		return f.denied
	}
	return context.DeadlineExceeded
}

func (f *inflight) enter(w *waiter) (number uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.subscribed {
		sub, err := f.nc.Subscribe(f.inbox+"*", f.answer)
		if err != nil {
			return 0, err
		}
		if err := sub.SetPendingLimits(-1, -1); err != nil { // an answer never blocks
			return 0, err
		}
		f.subscribed = true
	}
	f.last++
	f.waiting[f.last] = w
	return f.last, nil
}

func (f *inflight) leave(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiting, number)
}

// answer hands an answer on. A second one to the same request finds nobody.
func (f *inflight) answer(msg *nats.Msg) {
	number, err := strconv.ParseUint(strings.TrimPrefix(msg.Subject, f.inbox), 36, 64)
	if err != nil {
		return
	}
	a := answer{msg: msg}
	if len(msg.Data) == 0 && first(msg.Header, "Status") == "503" {
		a = answer{err: nats.ErrNoResponders}
	}
	f.mu.Lock()
	w, ok := f.waiting[number]
	delete(f.waiting, number)
	f.mu.Unlock()
	if ok {
		w.answer <- a
	}
}

// denial returns a context that ends with ErrPermission as its cause when the subject is denied, or one below it if it
// ends with a dot. Call stop when done.
func (f *inflight) denial(ctx context.Context, subject string) (watched context.Context, stop func()) {
	w := &watcher{subject: subject}
	ctx, w.cancel = context.WithCancelCause(ctx)
	f.mu.Lock()
	f.watching[w] = struct{}{}
	f.mu.Unlock()
	return ctx, func() {
		f.mu.Lock()
		delete(f.watching, w)
		f.mu.Unlock()
		w.cancel(nil)
	}
}

// disconnected takes the end of a connection. Answers are sent to a connection, so those under way are lost.
func (f *inflight) disconnected() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.denied = nil // the next connection asks again
	f.fail(nats.ErrDisconnected, func(*waiter) bool { return true })
}

// fail ends the requests that match. The caller holds mu.
func (f *inflight) fail(err error, match func(*waiter) bool) {
	for number, w := range f.waiting {
		if match(w) {
			delete(f.waiting, number)
			w.answer <- answer{err: err}
		}
	}
}

// failed takes any asynchronous error of the connection.
func (f *inflight) failed(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	subject, ok := deniedSubject(err.Error())
	if !ok {
		return
	}
	denied := fmt.Errorf("%w for subject %s", ErrPermission, subject)
	answers := subject == f.inbox+"*"
	f.mu.Lock()
	defer f.mu.Unlock()
	if answers {
		f.denied = denied
	}
	f.fail(denied, func(w *waiter) bool { return answers || w.subject == subject })
	for w := range f.watching {
		if answers || subject == w.subject || strings.HasSuffix(w.subject, ".") && strings.HasPrefix(subject, w.subject) {
			w.cancel(denied)
		}
	}
}

// deniedSubject reads the subject in the server's words: Permissions Violation for Publish to "X", or
// for Subscription to "X" [using queue "Q"].
func deniedSubject(text string) (string, bool) {
	_, rest, ok := strings.Cut(text, ` to "`)
	if !ok {
		return "", false
	}
	subject, _, ok := strings.Cut(rest, `"`)
	return subject, ok
}
