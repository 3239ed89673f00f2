package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/permissions"
)

// visitor stands where a subject leaves something open: a consumer, a provider or a credential that does not exist.
const visitor = "freshet-doctor"

// role asks the server for everything that the role may do, in ways that do nothing. What others would hear is not tried.
func (e *examiner) role(context.Context) {
	if e.Role == "" {
		return
	}
	line := "role " + string(e.Role)
	p, err := permissions.Of(e.Role, e.Scope)
	if err != nil {
		e.fail(line, oneLine(err), "give another --role")
		return
	}
	t := &trial{nc: e.Broker.Conn()}
	denied, untried := t.publishes(permissions.Allowed(p.Publish))
	missing, _ := t.subscribes(permissions.Allowed(p.Subscribe)[1:])
	if inbox := e.Broker.Conn().NewInbox(); t.refusesSubscription(inbox) {
		e.fail(line, "no answers come to "+inbox, "give --inbox-prefix "+p.Inbox)
	}
	denied = append(denied, missing...)
	allowed := t.beyond(p)
	if t.err != nil {
		e.trouble(line, t.err)
		return
	}
	if len(denied) > 0 {
		e.fail(line, "denied: "+quote(denied[:min(len(denied), 2*fewNames)], len(denied)), "compare the user's permissions with freshet permissions --role "+string(e.Role))
	} else {
		e.ok(line, "may do its work, but for %d subjects that were not tried: others would hear it, or a lane be touched", untried)
	}
	if len(allowed) > 0 {
		e.warn(line, "may do what is not its work: "+quote(allowed[:min(len(allowed), 2*fewNames)], len(allowed)), "narrow the user to what freshet permissions --role "+string(e.Role)+" prints")
	}
}

// trialTimeout bounds the wait for one word of the server.
const trialTimeout = 5 * time.Second

// trial asks what a connection's user may do.
type trial struct {
	nc  *nats.Conn
	err error
}

// publishes returns which subjects are denied, and how many cannot be tried in silence.
func (t *trial) publishes(subjects []string) (denied []string, untried int) {
	for _, subject := range subjects {
		switch {
		case !silent(subject):
			untried++
		case t.refuses(harmless(subject)):
			denied = append(denied, subject)
		}
	}
	return denied, untried
}

func (t *trial) subscribes(subjects []string) (denied, allowed []string) {
	for _, subject := range subjects {
		if t.refusesSubscription(subject) {
			denied = append(denied, subject)
		} else {
			allowed = append(allowed, subject)
		}
	}
	return denied, allowed
}

// beyond returns what other roles of the same account may do, and this user too although its role may not.
func (t *trial) beyond(own permissions.Permissions) (allowed []string) {
	for _, r := range permissions.Roles() {
		other, err := permissions.Of(r, permissions.Scope{})
		if err != nil || other.Account != own.Account {
			continue
		}
		for _, subject := range permissions.Allowed(other.Publish) {
			msg := harmless(subject)
			mine := permissions.Allows(permissions.Allowed(own.Publish), msg.Subject) || slices.Contains(allowed, subject)
			if !mine && silent(subject) && !t.refuses(msg) && t.err == nil {
				allowed = append(allowed, subject)
			}
		}
	}
	return allowed
}

// silent reports whether a message on the subject can be sent without consequence. Events are heard by whoever subscribes; and of what
// a request would do to something that exists, nothing is left to the server's reading of a body that is no request.
func silent(subject string) bool {
	switch {
	case strings.Contains(subject, ".STREAM.PURGE."), strings.Contains(subject, ".CONSUMER.PAUSE.") && !strings.HasSuffix(subject, ".*"):
		return false
	}
	return strings.HasPrefix(subject, "$") || strings.Contains(subject, "refresh.jobs.")
}

// harmless is a message that the server refuses whoever sends it, but for its subject: it is for a stream that does not exist, of an API
// that is not there yet, and its body begins as a request and is none. (Some requests are carried out where the body is no JSON at all.)
func harmless(subject string) *nats.Msg {
	msg := nats.NewMsg(strings.NewReplacer("*", visitor, ">", visitor).Replace(subject))
	msg.Header.Set(nats.ExpectedStreamHdr, visitor)
	msg.Header.Set("Nats-Required-Api-Level", "1000000")
	msg.Data = []byte("{")
	return msg
}

// refuses sends a message and reports whether the server says that it is not allowed.
func (t *trial) refuses(msg *nats.Msg) bool {
	return t.denied(func() error { return t.nc.PublishMsg(msg) })
}

func (t *trial) refusesSubscription(subject string) bool {
	return t.denied(func() error {
		sub, err := t.nc.SubscribeSync(subject)
		if err != nil {
			return err
		}
		if err := t.nc.FlushTimeout(trialTimeout); err != nil {
			return err
		}
		_ = sub.Unsubscribe() // the library has dropped it already where it was denied
		return nil
	})
}

// denied reports whether doing something brings a new denial: it arrives before the answer to the flush.
func (t *trial) denied(do func() error) bool {
	if t.err != nil {
		return false
	}
	before := t.nc.LastError()
	if t.err = errors.Join(do(), t.nc.FlushTimeout(trialTimeout)); t.err != nil {
		t.err = fmt.Errorf("probe permissions: %w", t.err)
		return false
	}
	after := t.nc.LastError()
	//nolint:errorlint // is it a new one, or the one from before?
	return after != before && errors.Is(after, nats.ErrPermissionViolation)
}
