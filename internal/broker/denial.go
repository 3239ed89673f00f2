package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// denials ties the server's permission errors, which arrive by themselves, to the requests they
// belong to, which would else run into their timeout.
type denials struct {
	inboxPrefix string

	mu      sync.Mutex
	waiting map[*denialWaiter]struct{}
	inbox   error // the subscription that replies come to was denied
}

type denialWaiter struct {
	subject string
	prefix  bool // subject is the head of what is waited for
	cancel  context.CancelCauseFunc
}

func newDenials(inboxPrefix string) *denials {
	return &denials{inboxPrefix: inboxPrefix + ".", waiting: make(map[*denialWaiter]struct{})}
}

// watch returns a context that ends with ErrPermission as its cause when the server denies the subject (exactly, or
// any below it when the subject ends with a dot). Call stop when done.
func (d *denials) watch(ctx context.Context, subject string) (watched context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &denialWaiter{subject: subject, prefix: strings.HasSuffix(subject, "."), cancel: cancel}
	d.mu.Lock()
	d.waiting[w] = struct{}{}
	d.mu.Unlock()
	return ctx, func() {
		d.mu.Lock()
		delete(d.waiting, w)
		d.mu.Unlock()
		cancel(nil)
	}
}

// hear takes any asynchronous error of the connection.
func (d *denials) hear(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	subject, ok := deniedSubject(err.Error())
	if !ok {
		return
	}
	denied := fmt.Errorf("%w for subject %s", ErrPermission, subject)
	// Replies to all requests come through one wildcard subscription under the inbox prefix.
	replies := strings.HasPrefix(subject, d.inboxPrefix) && strings.HasSuffix(subject, ".*")
	d.mu.Lock()
	defer d.mu.Unlock()
	if replies {
		d.inbox = denied
	}
	for w := range d.waiting {
		if replies || w.matches(subject) {
			w.cancel(denied)
		}
	}
}

func (w *denialWaiter) matches(subject string) bool {
	return subject == w.subject || w.prefix && strings.HasPrefix(subject, w.subject)
}

// inboxDenied returns the error that explains why replies cannot arrive, or nil.
func (d *denials) inboxDenied() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inbox
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
