package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// inflight ties what the connection reports by itself to the requests it concerns, which would else run into
// their timeout: that a subject is denied, and that the connection an answer was to come by is gone.
type inflight struct {
	inboxPrefix string
	next        nats.ErrHandler // who else hears of the connection's errors; nil: nobody

	mu      sync.Mutex
	waiting map[*waiter]struct{}
	inbox   error // the subscription that replies come to was denied
}

// waiter waits for an answer, or (longer) only for a denial.
type waiter struct {
	subject string
	longer  bool
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
		inboxPrefix: cmp.Or(nc.Opts.InboxPrefix, "_INBOX") + ".", next: standing, waiting: make(map[*waiter]struct{}),
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

// request returns a context that ends, with the reason as its cause, when no answer can come any more: the subject is
// denied (ErrPermission) or the connection broke (nats.ErrDisconnected). Call stop when done.
func (f *inflight) request(ctx context.Context, subject string) (watched context.Context, stop func()) {
	return f.add(ctx, &waiter{subject: subject})
}

// denial returns a context that ends with ErrPermission as its cause when the subject is denied, or one below it if it
// ends with a dot. Call stop when done.
func (f *inflight) denial(ctx context.Context, subject string) (watched context.Context, stop func()) {
	return f.add(ctx, &waiter{subject: subject, longer: true})
}

func (f *inflight) add(ctx context.Context, w *waiter) (context.Context, func()) {
	ctx, w.cancel = context.WithCancelCause(ctx)
	f.mu.Lock()
	f.waiting[w] = struct{}{}
	f.mu.Unlock()
	return ctx, func() {
		f.mu.Lock()
		delete(f.waiting, w)
		f.mu.Unlock()
		w.cancel(nil)
	}
}

// disconnected takes the end of a connection. Answers are sent to a connection, so those under way are lost.
func (f *inflight) disconnected() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inbox = nil // the next connection asks again
	for w := range f.waiting {
		if !w.longer {
			w.cancel(nats.ErrDisconnected)
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
	// Replies to all requests come through one wildcard subscription under the inbox prefix.
	replies := strings.HasPrefix(subject, f.inboxPrefix) && strings.HasSuffix(subject, ".*")
	f.mu.Lock()
	defer f.mu.Unlock()
	if replies {
		f.inbox = denied
	}
	for w := range f.waiting {
		if replies || w.matches(subject) {
			w.cancel(denied)
		}
	}
}

func (w *waiter) matches(subject string) bool {
	return subject == w.subject || strings.HasSuffix(w.subject, ".") && strings.HasPrefix(subject, w.subject)
}

// inboxDenied returns the error that explains why replies cannot arrive, or nil.
func (f *inflight) inboxDenied() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inbox
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
