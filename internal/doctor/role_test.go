package doctor_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/doctor"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/internal/permissions"
	"github.com/freshetdev/freshet/internal/probe"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// users starts a server with the users that freshet permissions prints, and an admin who may do everything.
func users(t *testing.T, s permissions.Scope) *natstest.Server {
	t.Helper()
	var printed bytes.Buffer
	if err := permissions.Write(&printed, permissions.Conf, "", s); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(printed.String(), "users: [", "users: [{user: admin, password: p}", 1)
	for _, r := range permissions.Roles() {
		text = strings.Replace(text, "$FRESHET_"+strings.ToUpper(string(r))+"_PASSWORD", "p", 1)
	}
	file := filepath.Join(t.TempDir(), "users.conf")
	var o natstest.Options
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.ProcessConfigFile(file); err != nil {
		t.Fatal(err)
	}
	return natstest.Run(t, o)
}

// as returns what doctor says of a user's permissions for a role.
func as(t *testing.T, s *natstest.Server, user, inbox string, cfg doctor.Config) (lines []string) {
	t.Helper()
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(s), nats.UserInfo(user, "p"), nats.CustomInboxPrefix(inbox))...)
	if err != nil {
		t.Fatal(err)
	}
	defer natstest.Close(nc)
	if cfg.Broker, err = broker.New(nc, broker.Config{}); err != nil {
		t.Fatal(err)
	}
	cfg.Offline = true
	if err := doctor.Examine(t.Context(), cfg, func(c probe.Check) {
		lines = append(lines, string(c.Result)+" "+c.Name+": "+c.Found)
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestPermissionsOfARoleAreTried(t *testing.T) {
	t.Parallel()
	narrow := permissions.Scope{Provider: "acme", Tenant: "north", Durable: "audit"}
	for name, scope := range map[string]permissions.Scope{"whole": {}, "narrowed": narrow} {
		s := users(t, scope)
		for _, r := range permissions.Roles() {
			got := as(t, s, string(r), "_INBOX_"+string(r), doctor.Config{Role: r, Scope: scope})
			wantLine(t, name, got, "ok role "+string(r)+": may do its work")
			for _, line := range got {
				if strings.HasPrefix(line, "warn role") {
					t.Errorf("%s: %s", name, line)
				}
			}
		}
	}
	s := users(t, permissions.Scope{})
	wantLine(t, "another role", as(t, s, "scheduler", "_INBOX_scheduler", doctor.Config{Role: permissions.Worker}), "fail role worker: denied: $JS.API.CONSUMER.MSG.NEXT.REFRESH_JOBS.*, ")
	wantLine(t, "another role, more than it needs", as(t, s, "scheduler", "_INBOX_scheduler", doctor.Config{Role: permissions.Worker}), "warn role worker: may do what is not its work: ")
	wantLine(t, "everything", as(t, s, "admin", "_INBOX", doctor.Config{Role: permissions.Worker}), "warn role worker: may do what is not its work: $JS.API.STREAM.INFO.KV_enrollments, ")
	wantLine(t, "an inbox of another", as(t, s, "reader", "_INBOX_worker", doctor.Config{Role: permissions.Reader}), "fail role reader: no answers come to _INBOX_worker.")
	wantLine(t, "nothing to see for a reader", as(t, s, "reader", "_INBOX_reader", doctor.Config{}), "warn assets: this user may not look: ")
}

// A user who may do everything has every trial let through: nothing comes of any.
func TestTrialsOfPermissionsDoNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, natstest.Options{})
	w.setUp()
	w.put("alice", nil)
	w.must(w.b.PublishJob(t.Context(), "acme.alice", refresh.Job{Reason: "demand"}, ""))
	_, err := w.b.PauseLane(t.Context(), "acme", provider.Pause{By: "operator:test"})
	w.must(err)
	heard := make(chan *nats.Msg, 1000)
	for _, subject := range []string{"token.>", "provider.>"} {
		_, err := w.nc.ChanSubscribe(subject, heard)
		w.must(err)
	}
	before := w.everything()
	for _, s := range []permissions.Scope{{}, {Provider: "acme"}, {Provider: "acme", Tenant: "alice", Durable: "acme"}} {
		for _, r := range permissions.Roles() {
			wantLine(t, string(r), w.examine(doctor.Config{Role: r, Scope: s, Offline: true}), "ok role "+string(r))
		}
	}
	w.must(w.nc.Flush())
	if after := w.everything(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if len(heard) > 0 {
		t.Errorf("%d messages were heard, the first on %s", len(heard), (<-heard).Subject)
	}
}

// everything is the state of all streams and of the lane, but for the time.
func (w *world) everything() string {
	w.t.Helper()
	var text strings.Builder
	streams := w.js.ListStreams(w.t.Context())
	for info := range streams.Info() {
		fmt.Fprintln(&text, info.Config.Name, info.State.Msgs, info.State.LastSeq)
	}
	w.must(streams.Err())
	cons, err := w.js.Consumer(w.t.Context(), "REFRESH_JOBS", "acme")
	w.must(err)
	info := cons.CachedInfo()
	fmt.Fprintln(&text, info.Paused, info.NumPending, info.NumWaiting, info.Delivered.Consumer, info.Config.PauseUntil)
	return text.String()
}
