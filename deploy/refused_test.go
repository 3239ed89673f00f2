package deploy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
)

// streams are the streams below everything Freshet keeps.
func streams() []string {
	n := events.Names{}
	return []string{n.TokensStream(), n.ProvidersStream(), n.JobsStream(), n.EventsStream(), n.AuditStream()}
}

// refusedToAll are subjects that no role may publish to.
func refusedToAll() []string {
	var all []string
	for _, s := range streams() {
		for _, verb := range []string{"DELETE", "UPDATE", "MSG.DELETE", "RESTORE", "LEADER.STEPDOWN"} {
			all = append(all, "$JS.API.STREAM."+verb+"."+s)
		}
	}
	for _, s := range []string{"KV_enrollments", "REFRESH_JOBS", "TOKEN_EVENTS", "AUDIT"} {
		all = append(all, "$JS.API.STREAM.SNAPSHOT."+s)
	}
	return append(all,
		"$JS.API.STREAM.PURGE.KV_tokens", "$JS.API.STREAM.PURGE.KV_providers", "$JS.API.STREAM.PURGE.TOKEN_EVENTS", "$JS.API.STREAM.PURGE.AUDIT",
		"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES",
		"$JS.API.CONSUMER.DELETE.REFRESH_JOBS.acme", "$JS.API.CONSUMER.DURABLE.CREATE.REFRESH_JOBS.acme",
		"$JS.API.CONSUMER.CREATE.REFRESH_JOBS", "$JS.API.CONSUMER.CREATE.KV_tokens",
		"$SYS.REQ.SERVER.PING", "$KV.other.acme", "refresh.other", "audit.other", "anything",
	)
}

// refusedTo are the subjects that a role may not publish to although another one may.
func refusedTo() map[string][]string {
	const record, entry, job, event = "$KV.tokens.acme.alice", "$KV.providers.acme", "refresh.jobs.acme.alice", "token.updated.acme.alice"
	readTokens := []string{
		"$JS.API.STREAM.MSG.GET.KV_tokens", "$JS.API.DIRECT.GET.KV_tokens", "$JS.API.CONSUMER.CREATE.KV_tokens.x",
		"$JS.API.STREAM.INFO.KV_tokens",
	}
	readProviders := []string{
		"$JS.API.STREAM.MSG.GET.KV_providers", "$JS.API.DIRECT.GET.KV_providers." + entry,
		"$JS.API.CONSUMER.CREATE.KV_providers.x", "$JS.API.STREAM.INFO.KV_providers",
	}
	takeJobs := []string{"$JS.API.CONSUMER.MSG.NEXT.REFRESH_JOBS.acme", "$JS.ACK.REFRESH_JOBS.acme.1.1.1.1.0"}
	dropJobs := []string{"$JS.API.STREAM.PURGE.REFRESH_JOBS"}
	makeLanes := []string{"$JS.API.CONSUMER.CREATE.REFRESH_JOBS.acme.refresh.jobs.acme.>", "$JS.API.STREAM.CREATE.KV_tokens"}
	enrolments := []string{"$JS.API.STREAM.MSG.GET.KV_enrollments", "$KV.enrollments.state_x"}
	limits := []string{"$JS.API.INFO"}
	copies := []string{"$JS.API.STREAM.SNAPSHOT.KV_tokens", "$JS.API.STREAM.SNAPSHOT.KV_providers"}
	readAudit := []string{"$JS.API.CONSUMER.CREATE.AUDIT.x", "$JS.API.STREAM.INFO.AUDIT"}
	written := func(actions ...string) (all []string) {
		for _, a := range actions {
			all = append(all, "audit."+a)
		}
		return all
	}
	operated := written("paused.acme", "paused.acme.alice", "resumed.acme", "applied.acme", "set_up", "keys_rotated", "rewrapped", "backed_up", "restored")
	enrolled := written("enrolled.acme.alice", "imported", "link_made.acme", "link_made.acme.alice")
	withdrawn := written("revoked.acme.alice", "deleted.acme.alice")
	read := written("token_read.acme.alice")
	never := slices.Concat(copies, readAudit, operated, enrolled, withdrawn)
	outside := slices.Concat(never, limits, enrolments, takeJobs, dropJobs, makeLanes, readTokens, readProviders, []string{record, entry, event})
	return map[string][]string{
		"operator":   slices.Concat(enrolled, read, takeJobs, enrolments, []string{event, "token.reauth_required.acme.alice"}),
		"scheduler":  slices.Concat(never, read, takeJobs, enrolments, makeLanes, readTokens[:2], []string{record}),
		"worker":     slices.Concat(never, read, enrolments, makeLanes, dropJobs, readTokens[1:3], []string{job}),
		"enroller":   slices.Concat(copies, readAudit, operated, read, takeJobs, dropJobs, makeLanes, readTokens[1:2], []string{entry, job, "$JS.API.CONSUMER.PAUSE.REFRESH_JOBS.acme"}),
		"reader":     outside,
		"subscriber": append(slices.Concat(outside, read), job, "$JS.API.DIRECT.GET.KV_tokens."+record),
	}
}

func TestWhatIsNobodysWorkIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, role := range roles() {
		publish := append(refusedToAll(), refusedTo()[role]...)
		subscribe := []string{">", "_INBOX.>", "$KV.>", "$JS.>", "refresh.jobs.>"}
		for _, other := range roles() {
			if other != role {
				subscribe = append(subscribe, "_INBOX_"+other+".>")
			}
		}
		p := w.newTrial(role)
		for _, subject := range publish {
			w.must(p.nc.Publish(subject, nil))
			p.wantDenied("Publish", subject)
		}
		for _, subject := range subscribe {
			sub, err := p.nc.SubscribeSync(subject)
			w.must(err)
			p.wantDenied("Subscription", subject)
			_ = sub.Unsubscribe() // the library has dropped it already where it was denied
		}
	}
}

// trial is a connection that hears what is denied.
type trial struct {
	t      *testing.T
	role   string
	nc     *nats.Conn
	denied chan string
}

func (w *world) newTrial(role string) *trial {
	p := &trial{t: w.t, role: role, denied: make(chan string, 64)}
	p.nc = w.connect(role, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { p.denied <- err.Error() }))
	return p
}

// wantDenied fails unless the server's next word is that this was denied. Where it is not, a publish to a subject that
// surely is denied brings the next word.
func (p *trial) wantDenied(action, subject string) {
	p.t.Helper()
	const marker = "surely.denied"
	if err := p.nc.Publish(marker, nil); err != nil {
		p.t.Fatal(err)
	}
	refused := false
	for {
		select {
		case text := <-p.denied:
			refused = refused || strings.Contains(text, fmt.Sprintf("for %s to %q", action, subject))
			if !strings.Contains(text, marker) {
				continue
			}
		case <-time.After(patience):
			p.t.Fatalf("%s: nothing is heard from the server", p.role)
		}
		break
	}
	if !refused {
		p.t.Errorf("%s: %s to %s is allowed", p.role, action, subject)
	}
}

// Whoever asks the server names the subject of the answer, and the server may write anywhere. From an account of its own
// no such answer reaches a record.
func TestNoAnswerToAnOutsiderOverwritesARecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator := w.broker("operator")
	w.setUp(operator)
	names := events.Names{}
	nobody := names.RecordSubject(events.Credential{Provider: "acme", Account: "nobody"})
	for i, q := range []struct{ role, question string }{
		{"reader", "$JS.API.DIRECT.GET.KV_tokens." + nobody},
		{"reader", "$JS.API.CONSUMER.INFO.REFRESH_JOBS.acme"},
		{"reader", names.JobSubject(events.Credential{Provider: "acme", Account: "nobody"})},
		{"reader", names.AuditSubject("token_read", "acme.nobody")},
		{"subscriber", "$JS.API.CONSUMER.INFO.TOKEN_EVENTS.nobody"},
	} {
		role, question := q.role, q.question
		nc, victim := w.connect(role), w.importExpired(fmt.Sprintf("victim-%d-of-the-%s", i, role))
		before, err := operator.Get(t.Context(), victim)
		w.must(err)
		w.must(nc.PublishRequest(question, names.RecordSubject(victim), nil))
		// The same question once more, answered here: by then the one before has been answered. And a write of our own:
		// what the server had written before it is stored by then.
		answer, err := nc.Request(question, nil, patience)
		w.must(err)
		if len(answer.Data) == 0 && len(answer.Header) == 0 {
			t.Errorf("%s: the question has no answer, so nothing is shown", role)
		}
		w.importExpired(fmt.Sprintf("later-than-%d-of-the-%s", i, role))
		after, err := operator.Get(t.Context(), victim)
		if err != nil || after.Revision != before.Revision {
			t.Errorf("%s: the record of %s was overwritten: revision %d, then %d, %v", role, victim, before.Revision, after.Revision, err)
		}
	}
	if got := w.denials.all(); len(got) > 0 {
		t.Errorf("denied, so nothing is shown:\n%s", strings.Join(got, "\n"))
	}
}
