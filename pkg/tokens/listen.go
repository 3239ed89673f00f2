package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

// newsBuffer is how many events may wait for the goroutine that reads them, which never blocks.
const newsBuffer = 16 << 10

// listener is how a client hears of new tokens, of the connection's state and of what the server denies.
type listener struct {
	client *Client
	inbox  string   // the subject that answers come to
	news   []string // the subjects of the events
	subs   []*nats.Subscription
	msgs   chan *nats.Msg
	status chan nats.Status
	hook   *hook
}

// newsTypes are the events after which a reader should look again.
func newsTypes() []events.Type {
	return []events.Type{events.TokenUpdated, events.TokenReauthRequired, events.TokenRevoked, events.TokenDeleted}
}

// listen subscribes to the news and to the client's inbox, and returns when the server has taken the subscriptions.
func listen(ctx context.Context, c *Client) (*listener, error) {
	subjects, err := newsSubjects(c.names, c.cfg.Scope)
	if err != nil {
		return nil, err
	}
	l := &listener{
		client: c, inbox: c.direct.inbox + "*", news: subjects,
		msgs: make(chan *nats.Msg, newsBuffer), status: c.nc.StatusChanged(nats.CONNECTED),
		hook: hookOn(c.nc),
	}
	before := c.nc.LastError()
	l.hook.add(l)
	if err := l.subscribe(ctx, before); err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

func newsSubjects(names events.Names, scope string) ([]string, error) {
	provider, account, _ := strings.Cut(scope, "/")
	subjects, err := names.FilterSubjects(events.Filter{Types: newsTypes(), Provider: provider, Account: account})
	if err != nil {
		return nil, fmt.Errorf("scope %q: %w", scope, err)
	}
	return subjects, nil
}

func (l *listener) subscribe(ctx context.Context, before error) error {
	if err := l.add(l.inbox, l.client.direct.msgs); err != nil {
		return err
	}
	for _, subject := range l.news {
		if err := l.add(subject, l.msgs); err != nil {
			return err
		}
	}
	if l.client.cache != nil && !l.client.nc.IsConnected() {
		return nil // whoever starts from the cache file does not wait; OnError hears of what is denied
	}
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	if err := l.client.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("%w: no answer from the server: %w", ErrUnavailable, err)
	}
	// A denial arrives before the answer to the flush; the handler may hear of it later.
	//nolint:errorlint // is it a new one, or the one from before?
	if denied := l.client.nc.LastError(); denied != before && l.owns(deniedSubject(denied)) {
		return l.deniedError(deniedSubject(denied))
	}
	return nil
}

func (l *listener) add(subject string, to chan *nats.Msg) error {
	sub, err := l.client.nc.ChanSubscribe(subject, to)
	if err != nil {
		return fmt.Errorf("%w: subscribe to %s: %w", ErrUnavailable, subject, err)
	}
	l.subs = append(l.subs, sub)
	return nil
}

// owns reports whether a subject is one that we subscribe to.
func (l *listener) owns(subject string) bool {
	return subject == l.inbox || slices.Contains(l.news, subject)
}

func (l *listener) deniedError(subject string) error {
	if subject == l.inbox {
		return fmt.Errorf("%w: subscribe to %s, where answers come: set nats.CustomInboxPrefix as the user's permissions say",
			ErrPermission, subject)
	}
	return fmt.Errorf("%w: subscribe to %s", ErrPermission, subject)
}

func (l *listener) stop() {
	l.hook.remove(l)
	l.client.nc.RemoveStatusListener(l.status)
	for _, sub := range l.subs {
		_ = sub.Unsubscribe() // fails only on a closed connection, which has no subscriptions
	}
}

// run hears until ctx ends.
func (l *listener) run(ctx context.Context) {
	status := l.status
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-l.msgs:
			l.heard(msg)
		case _, ok := <-status:
			if !ok {
				status = nil // closed by stop
				continue
			}
			l.client.direct.lose(fmt.Errorf("%w: the connection was lost meanwhile", ErrUnavailable))
			l.client.lookAtAll()
		}
	}
}

// heard tells a source that there is news. Of an event it reads the subject, and the data only when somebody waits for it:
// a reader of one credential hears of all.
func (l *listener) heard(msg *nats.Msg) {
	kind, key, err := l.client.names.ParseEventSubject(msg.Subject)
	if err != nil {
		return // nothing of ours
	}
	s := l.client.sourceOf(key)
	if s == nil {
		l.client.withdrawn(kind, key)
		return
	}
	var data events.Data
	if err := json.Unmarshal(msg.Data, &data); err != nil {
		l.client.cfg.OnError(fmt.Errorf("event on %s cannot be read: %w", msg.Subject, err))
	}
	s.heard(data.Revision)
}

// failed hears every asynchronous error of the connection.
func (l *listener) failed(sub *nats.Subscription, err error) {
	if l.client.ctx.Err() != nil {
		return
	}
	switch {
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil && l.owns(sub.Subject):
		l.client.lookAtAll()
	case errors.Is(err, nats.ErrPermissionViolation):
		l.denied(deniedSubject(err))
	}
}

func (l *listener) denied(subject string) {
	switch {
	case subject == l.inbox:
		l.client.direct.lose(l.deniedError(subject))
		l.client.cfg.OnError(l.deniedError(subject))
	case l.owns(subject):
		l.client.cfg.OnError(l.deniedError(subject))
	default:
		l.client.direct.deny(subject, fmt.Errorf("%w: publish on %s", ErrPermission, subject))
	}
}

// deniedSubject reads the subject in the server's words: Permissions Violation for Publish to "X", or for
// Subscription to "X". Empty: err is nothing of the kind.
func deniedSubject(err error) string {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return ""
	}
	_, rest, _ := strings.Cut(err.Error(), ` to "`)
	subject, _, _ := strings.Cut(rest, `"`)
	return subject
}
