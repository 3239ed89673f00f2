package deploy_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/permissions"
	"github.com/freshetdev/freshet/pkg/events"
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
		p := w.newProbe(string(own.Role))
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

// Narrowed to a tenant, programs do their work there, and nothing beyond it.
func TestTenantsDoNotReachEachOther(t *testing.T) {
	t.Parallel()
	s := permissions.Scope{Provider: "acme", Tenant: "north", Durable: "audit"}
	w := newNarrowWorld(t, s)
	w.refuseTheWorkOfOthers(s)
	names := events.Names{}
	for _, account := range []string{"south", "northern", "south/north", "northern/alice"} {
		c := events.Credential{Provider: "acme", Account: account}
		w.wantRefused(c, names)
	}
	w.wantRefused(events.Credential{Provider: "other", Account: "north"}, names)
}

// wantRefused tries what readers, subscribers and enrollers do about a credential that is not theirs.
func (w *world) wantRefused(c events.Credential, n events.Names) {
	w.t.Helper()
	event := n.EventSubject(events.TokenUpdated, c)
	reader, subscriber, enroller := w.newProbe("reader"), w.newProbe("subscriber"), w.newProbe("enroller")
	for subject, p := range map[string]*probe{
		"$JS.API.DIRECT.GET.KV_tokens." + n.RecordSubject(c): reader, n.JobSubject(c): reader, n.RecordSubject(c): enroller,
		event: enroller, "$JS.API.CONSUMER.CREATE.TOKEN_EVENTS.audit." + event: subscriber,
	} {
		w.must(p.nc.Publish(subject, nil))
		p.wantDenied("Publish", subject)
	}
	for _, p := range []*probe{reader, subscriber} {
		_, err := p.nc.SubscribeSync(event)
		w.must(err)
		p.wantDenied("Subscription", event)
	}
}
