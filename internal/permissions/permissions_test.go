package permissions_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/freshetdev/freshet/internal/permissions"
	"github.com/freshetdev/freshet/pkg/events"
)

func of(t *testing.T, r permissions.Role, s permissions.Scope) permissions.Permissions {
	t.Helper()
	p, err := permissions.Of(r, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, f permissions.Format, r permissions.Role, s permissions.Scope) string {
	t.Helper()
	var out bytes.Buffer
	if err := permissions.Write(&out, f, r, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestAllows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		allowed, subject string
		want             bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.b", "a", false}, {"a.b", "a.b.c", false},
		{"a.*", "a.b", true}, {"a.*", "a.*", true}, {"a.*", "a.>", false}, {"a.*", "a.b.c", false},
		{"a.>", "a.b.c", true}, {"a.>", "a.*", true}, {"a.>", "a.>", true}, {"a.>", "a", false}, {"a.b.>", "a.>", false},
		{">", "a.b", true}, {"*.b", "a.b", true},
	} {
		if got := permissions.Allows([]string{"none", c.allowed}, c.subject); got != c.want {
			t.Errorf("%s allows %s: %v, want %v", c.allowed, c.subject, got, c.want)
		}
	}
}

// A namespace reaches every subject: nobody in it touches the default one.
func TestANamespaceIsInEverySubject(t *testing.T) {
	t.Parallel()
	names, err := events.NewNames("staging")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range permissions.Roles() {
		own, others := of(t, r, permissions.Scope{Names: names}), of(t, r, permissions.Scope{})
		for _, lists := range [][2][]permissions.Group{{own.Publish, others.Publish}, {own.Subscribe, others.Subscribe}} {
			for _, subject := range permissions.Allowed(lists[0]) {
				shared := subject == "$JS.API.INFO" || strings.HasPrefix(subject, "_INBOX_")
				if permissions.Allows(permissions.Allowed(lists[1]), subject) != shared {
					t.Errorf("%s: %s is in both namespaces", r, subject)
				}
			}
		}
	}
	reader := permissions.Allowed(of(t, permissions.Reader, permissions.Scope{Names: names}).Publish)
	c := events.Credential{Provider: "acme", Account: "alice"}
	for _, subject := range []string{
		"$JS.API.DIRECT.GET." + names.TokensStream() + "." + names.RecordSubject(c), names.JobSubject(c),
		"$JS.API.CONSUMER.INFO." + names.JobsStream() + ".acme",
	} {
		if !permissions.Allows(reader, subject) {
			t.Errorf("a reader may not use %s", subject)
		}
	}
}

// Who shows no dashboard cannot list credentials, and does the rest of its work.
func TestTheDashboardCanBeLeftOut(t *testing.T) {
	t.Parallel()
	for _, r := range permissions.Roles() {
		whole, less := of(t, r, permissions.Scope{}), of(t, r, permissions.Scope{NoDashboard: true})
		with, without := permissions.Allowed(whole.Publish), permissions.Allowed(less.Publish)
		lists := func(all []string) bool { return permissions.Allows(all, "$JS.API.CONSUMER.CREATE.KV_tokens.any") }
		if r != permissions.Enroller {
			if !slices.Equal(with, without) {
				t.Errorf("%s: %v without", r, without)
			}
		} else if !lists(with) || lists(without) || !permissions.Allows(without, "$KV.tokens.acme.alice") {
			t.Errorf("%s: %v, without the dashboard %v", r, with, without)
		}
	}
}

// Whatever a scope narrows, it allows nothing that the whole does not; and what stays wide is marked.
func TestANarrowUserMayDoLessAndWhatIsWideIsMarked(t *testing.T) {
	t.Parallel()
	for _, r := range permissions.Roles() {
		whole := of(t, r, permissions.Scope{})
		for _, s := range []permissions.Scope{{Provider: "acme"}, {Provider: "acme", Tenant: "north", Durable: "audit"}} {
			p := of(t, r, s)
			for _, g := range slices.Concat(p.Publish, p.Subscribe) {
				for _, subject := range g.Allow {
					if !permissions.Allows(slices.Concat(permissions.Allowed(whole.Publish), permissions.Allowed(whole.Subscribe)), subject) {
						t.Errorf("%s %+v: %s is more than the whole", r, s, subject)
					}
					own := strings.HasPrefix(subject, p.Inbox) || strings.Contains(subject, ".acme") && (s.Tenant == "" || strings.Contains(subject, ".north")) ||
						strings.Contains(subject, ".audit")
					if marked := g.Wide[subject] != ""; marked == own {
						t.Errorf("%s %+v: %s is marked as wide: %v", r, s, subject, marked)
					}
				}
			}
		}
	}
}

func TestEveryFormatHasEverySubject(t *testing.T) {
	t.Parallel()
	for _, f := range permissions.Formats() {
		all := write(t, f, "", permissions.Scope{})
		for _, r := range permissions.Roles() {
			one := write(t, f, r, permissions.Scope{User: "billing-2"})
			p := of(t, r, permissions.Scope{})
			for _, subject := range slices.Concat(permissions.Allowed(p.Publish), permissions.Allowed(p.Subscribe)[1:]) {
				if !strings.Contains(all, subject) || !strings.Contains(one, subject) {
					t.Errorf("%s, %s: %s is missing", f, r, subject)
				}
			}
			if !strings.Contains(one, "_INBOX_billing-2.>") || strings.Contains(one, "_INBOX_"+string(r)) {
				t.Errorf("%s, %s: a user of another name has the wrong inboxes", f, r)
			}
		}
	}
}

func TestValuesAndJSONCanBeRead(t *testing.T) {
	t.Parallel()
	for _, r := range append(permissions.Roles(), "") {
		for _, s := range []permissions.Scope{{}, {Provider: "acme", Tenant: "north"}} {
			var values struct {
				Config struct {
					JetStream struct {
						Enabled   bool
						FileStore struct{ Enabled bool } `yaml:"fileStore"`
						Merge     struct {
							SyncInterval string `yaml:"sync_interval"`
						}
					}
					Merge struct {
						Accounts map[string]struct {
							Users []struct{ User, Password string }
						}
					}
				}
				Container struct {
					Env map[string]struct {
						ValueFrom struct {
							SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
						} `yaml:"valueFrom"`
					}
				}
			}
			if err := yaml.Unmarshal([]byte(write(t, permissions.Helm, r, s)), &values); err != nil {
				t.Fatalf("%s: %v", r, err)
			}
			users := 0
			for name, a := range values.Config.Merge.Accounts {
				users += len(a.Users)
				for _, u := range a.Users { // the keys are those that Freshet's own chart reads
					variable := strings.TrimSuffix(strings.TrimPrefix(u.Password, "<< $"), " >>")
					if ref := values.Container.Env[variable].ValueFrom.SecretKeyRef; ref.Name != "freshet-nats" || ref.Key != u.User+"-password" {
						t.Errorf("%s: the password comes from %+v", u.User, ref)
					}
				}
				if js := values.Config.JetStream; name == permissions.Home && (!js.Enabled || !js.FileStore.Enabled || js.Merge.SyncInterval != "always") {
					t.Errorf("%q: JetStream is %+v", r, js)
				}
			}
			want := 1
			if r == "" {
				want = len(permissions.Roles())
			}
			if users != want || len(values.Container.Env) != want {
				t.Errorf("%q: %d users with %d passwords, want %d", r, users, len(values.Container.Env), want)
			}
			if !json.Valid([]byte(write(t, permissions.JSON, r, s))) {
				t.Errorf("%q: no JSON", r)
			}
		}
	}
}

// A shell hands every subject to nsc as it is, dollars and all.
func TestCommandsOfNSCAreWhatAShellReads(t *testing.T) {
	t.Parallel()
	script := "nsc() { printf '<%s>' \"$@\"; echo; }\n" + write(t, permissions.NSC, "", permissions.Scope{Provider: "acme", Tenant: "north"})
	out, err := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range permissions.Roles() {
		p := of(t, r, permissions.Scope{Provider: "acme", Tenant: "north"})
		want := "<add><user><--account><" + p.Account + "><--name><" + string(r) + ">"
		for _, subject := range permissions.Allowed(p.Publish) {
			want += "<--allow-pub><" + subject + ">"
		}
		if len(p.Publish) == 0 {
			want += "<--deny-pub><>>"
		}
		for _, subject := range permissions.Allowed(p.Subscribe) {
			want += "<--allow-sub><" + subject + ">"
		}
		if !strings.Contains(string(out), want+"\n") {
			t.Errorf("%s: want %s in\n%s", r, want, out)
		}
	}
	if got := strings.Count(string(out), "<add><import>"); got != 9 {
		t.Errorf("%d imports, want 9", got)
	}
}

func TestWrongScopesAreRefused(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]permissions.Scope{
		"provider": {Provider: "no such."}, "a tenant alone": {Tenant: "north"}, "user": {User: "x.>"}, "durable": {Durable: "*"},
		"user of digits": {User: "1"}, "user that ends a line": {User: "x\n"},
	} {
		if _, err := permissions.Of(permissions.Reader, s); err == nil {
			t.Errorf("%s: %+v is taken", name, s)
		}
	}
	if _, err := permissions.Of("king", permissions.Scope{}); err == nil {
		t.Error("a role that does not exist is taken")
	}
	if err := permissions.Write(new(bytes.Buffer), "xml", permissions.Reader, permissions.Scope{}); err == nil {
		t.Error("a format that does not exist is taken")
	}
}
