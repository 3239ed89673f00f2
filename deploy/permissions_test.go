package deploy_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/permissions"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// The configuration ends with what the command prints, so that there is one truth.
func TestConfigurationIsWhatTheCommandPrints(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := permissions.Write(&want, permissions.Conf, "", permissions.Scope{}); err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile(confFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(have, append([]byte("\n"), want.Bytes()...)) {
		t.Errorf("%s does not end with what freshet permissions prints: replace its accounts", confFile)
	}
}

// Every role tries every subject of all the others.
func TestTheWorkOfOthersIsRefused(t *testing.T) {
	t.Parallel()
	newWorld(t).refuseTheWorkOfOthers(permissions.Scope{})
}

// refuseTheWorkOfOthers lets each role publish to, and subscribe to, whatever the table allows another one and not it.
func (w *world) refuseTheWorkOfOthers(s permissions.Scope) {
	w.t.Helper()
	all := everybody(w.t, s)
	for _, own := range all {
		p := w.newTrial(string(own.Role))
		tried := 0
		for _, other := range all {
			for _, subject := range missing(permissions.Allowed(own.Publish), permissions.Allowed(other.Publish)) {
				w.must(p.nc.Publish(concrete(subject), nil))
				p.wantDenied("Publish", concrete(subject))
				tried++
			}
			for _, subject := range missing(permissions.Allowed(own.Subscribe), permissions.Allowed(other.Subscribe)) {
				sub, err := p.nc.SubscribeSync(subject)
				w.must(err)
				p.wantDenied("Subscription", subject)
				_ = sub.Unsubscribe() // the library has dropped it already where it was denied
				tried++
			}
		}
		if tried < 20 {
			w.t.Errorf("%s: %d subjects of others, so little is shown", own.Role, tried)
		}
	}
}

func everybody(t *testing.T, s permissions.Scope) (all []permissions.Permissions) {
	t.Helper()
	for _, r := range permissions.Roles() {
		p, err := permissions.Of(r, s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// missing are the subjects of others that one's own do not cover.
func missing(own, others []string) []string {
	return slices.DeleteFunc(slices.Clone(others), func(subject string) bool {
		return permissions.Allows(own, subject) || permissions.Allows(own, concrete(subject))
	})
}

// concrete is a subject that a wildcard covers.
func concrete(subject string) string {
	return strings.NewReplacer("*", "acme", ">", "alice").Replace(subject)
}

// Narrowed to a tenant, everybody does their work there, and nothing beyond it.
func TestATenantsUsersDoTheirWorkAndNoMore(t *testing.T) {
	t.Parallel()
	s := permissions.Scope{Provider: "acme", Tenant: "north", Durable: "audit"}
	w := newNarrowWorld(t, s)
	w.setUp(w.broker(admin))
	w.startScheduler()
	w.startWorker()
	live, durable := newBook(), newBook()
	cfg := events.SubscribeConfig{Filter: events.Filter{Provider: "acme", Account: "north"}, Durable: s.Durable}
	w.makeDurable(cfg)
	w.subscribeAs("subscriber", cfg, live, durable)

	alice := w.importExpired("north/alice")
	for _, b := range []*book{live, durable} {
		b.await(t, "the refresh", isAbout(events.TokenUpdated, alice, 2))
	}
	reader, err := tokens.Open(t.Context(), w.connect("reader"), tokens.Config{AccessKeyset: w.access, Scope: "acme/north"})
	w.must(err)
	w.wantToken(reader, alice, 2)
	w.ask(alice)
	w.must(reader.Close())
	w.operateTenant(alice)
	w.remove("enroller", alice)
	if got := w.denials.all(); len(got) > 0 {
		t.Errorf("denied:\n%s", strings.Join(got, "\n"))
	}

	w.refuseTheWorkOfOthers(s)
	for _, account := range []string{"south", "northern", "south/north", "northern/alice"} {
		w.wantRefused(events.Credential{Provider: "acme", Account: account})
	}
	w.wantRefused(events.Credential{Provider: "other", Account: "north"})
}

// makeDurable is left to somebody who may, because a tenant's events have two subjects.
func (w *world) makeDurable(cfg events.SubscribeConfig) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	cfg.OnReady = cancel
	w.must(events.Durable(ctx, w.broker(admin).JetStream(), cfg, func(context.Context, events.Event) error { return nil }))
}

// ask is what a reader asks when a token is refused. (A newer one would take its time so soon after the last.)
func (w *world) ask(c events.Credential) {
	w.t.Helper()
	nc := w.connect("reader")
	for subject, data := range map[string][]byte{
		"$JS.API.CONSUMER.INFO.REFRESH_JOBS." + c.Provider: nil,
		events.Names{}.JobSubject(c):                       refresh.Job{Reason: events.ReasonDemand, NewerThan: 1}.Encode(),
	} {
		_, err := nc.Request(subject, data, patience)
		w.must(err)
	}
}

// operateTenant does what an operator of a tenant may do.
func (w *world) operateTenant(c events.Credential) {
	w.t.Helper()
	b := w.broker("operator")
	pause := provider.Pause{By: "operator:test", Reason: "maintenance"}
	w.must(app.PauseLane(w.t.Context(), b, "acme", pause, "freshet/test"))
	w.must(app.ResumeLane(w.t.Context(), b, "acme", "operator:test", "freshet/test"))
	writer := enroll.Writer{Store: b}
	_, err := writer.SetPaused(w.t.Context(), c, &pause)
	w.must(err)
	for _, filter := range []string{"acme.north", "acme.north.>"} {
		w.must(b.WatchRecords(w.t.Context(), broker.WatchConfig{Filter: filter, Once: true}, func(broker.Seen) {}, nil))
	}
}

// wantRefused tries what readers, subscribers and enrollers do about a credential that is not theirs.
func (w *world) wantRefused(c events.Credential) {
	w.t.Helper()
	n := events.Names{}
	event := n.EventSubject(events.TokenUpdated, c)
	reader, subscriber, enroller := w.newTrial("reader"), w.newTrial("subscriber"), w.newTrial("enroller")
	for _, try := range []struct {
		p       *trial
		subject string
	}{
		{reader, "$JS.API.DIRECT.GET.KV_tokens." + n.RecordSubject(c)}, {reader, n.JobSubject(c)},
		{enroller, n.RecordSubject(c)}, {enroller, event},
		{subscriber, "$JS.API.CONSUMER.CREATE.TOKEN_EVENTS.audit." + event}, {subscriber, "$JS.API.CONSUMER.MSG.NEXT.TOKEN_EVENTS.others"},
	} {
		w.must(try.p.nc.Publish(try.subject, nil))
		try.p.wantDenied("Publish", try.subject)
	}
	for _, p := range []*trial{reader, subscriber} {
		_, err := p.nc.SubscribeSync(event)
		w.must(err)
		p.wantDenied("Subscription", event)
	}
}
