package broker_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// restricted starts a set-up server and returns a Broker for a user who may do what allow and inbox say.
func restricted(t *testing.T, publish, subscribe []string) (guest, root *broker.Broker) {
	t.Helper()
	n := startServer(t, natstest.Options{Users: []*server.User{
		{Username: "root", Password: "p"},
		{Username: "guest", Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: publish},
			Subscribe: &server.SubjectPermission{Allow: subscribe},
		}},
	}})
	root = newBroker(t, n.connect(nats.UserInfo("root", "p")), broker.Config{})
	mustSetup(t, root)
	mustLane(t, root, acme())
	nc := n.connect(nats.UserInfo("guest", "p"), nats.CustomInboxPrefix("_INBOX_guest"))
	return newBroker(t, nc, broker.Config{}), root
}

const guestInbox = "_INBOX_guest.>"

func TestDeniedSubjectIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	b, _ := restricted(t, []string{"nothing"}, []string{guestInbox})
	begin := time.Now()
	for subject, call := range map[string]func() error{
		"$JS.API.STREAM.MSG.GET.KV_tokens":        func() error { _, err := b.Get(t.Context(), credential("alice")); return err },
		"$KV.tokens.acme.alice":                   func() error { _, err := b.Put(t.Context(), refresh.Write{Record: record("alice", 1)}); return err },
		"refresh.jobs.acme.alice":                 func() error { return b.PublishJob(t.Context(), "acme.alice", job(1), "") },
		"$JS.API.CONSUMER.INFO.REFRESH_JOBS.acme": func() error { _, err := b.LaneInfo(t.Context(), "acme"); return err },
		"$JS.API.STREAM.INFO.KV_tokens":           func() error { return b.Check(t.Context()) },
		"$JS.API.CONSUMER.CREATE.KV_tokens.": func() error {
			return b.WatchRecords(t.Context(), broker.WatchConfig{}, func(broker.Seen) {}, nil)
		},
	} {
		err := call()
		if !errors.Is(err, broker.ErrPermission) || !strings.Contains(err.Error(), "permission denied for subject "+subject) {
			t.Errorf("%s: got %v", subject, err)
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v: that is a timeout's time", took)
	}
}

func TestDeniedReplies(t *testing.T) {
	t.Parallel()
	b, _ := restricted(t, []string{">"}, []string{"nothing"})
	_, err := b.Get(t.Context(), credential("alice"))
	if !errors.Is(err, broker.ErrPermission) || !strings.Contains(err.Error(), "_INBOX_guest.") {
		t.Errorf("got %v", err)
	}
	err = b.WatchRecords(t.Context(), broker.WatchConfig{}, func(broker.Seen) {}, nil)
	if !errors.Is(err, broker.ErrPermission) {
		t.Errorf("watch: got %v", err)
	}
}

func TestDeniedPullEndsRun(t *testing.T) {
	t.Parallel()
	b, _ := restricted(t, []string{"$JS.API.CONSUMER.INFO.>"}, []string{guestInbox})
	lane, err := b.Lane(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	err = lane.Run(t.Context(), broker.NewHands(1), newHands().handle)
	if !errors.Is(err, broker.ErrPermission) || !strings.Contains(err.Error(), "CONSUMER.MSG.NEXT.REFRESH_JOBS.acme") {
		t.Errorf("got %v", err)
	}
}

func TestDeniedFlowControlEndsTheWatch(t *testing.T) {
	t.Parallel()
	b, root := restricted(t, []string{"$JS.API.>"}, []string{guestInbox})
	// Enough for the server to ask whether the watcher keeps up.
	r := record("alice", 1)
	r.Grant = make([]byte, 300<<10)
	rev := uint64(0)
	for range 3 {
		rev = mustPut(t, root, r, rev)
	}
	for i := range 40 {
		r.Account = "user" + strings.Repeat("x", i)
		mustPut(t, root, r, 0)
	}
	err := b.Records(t.Context(), "", func(refresh.Stored, error) error { return nil })
	if !errors.Is(err, broker.ErrPermission) || !strings.Contains(err.Error(), "$JS.FC.") {
		t.Errorf("got %v", err)
	}
}

func TestOtherRequestsDoNotSufferFromADenial(t *testing.T) {
	t.Parallel()
	b, root := restricted(t, []string{"$JS.API.STREAM.MSG.GET.KV_tokens"}, []string{guestInbox})
	mustPut(t, root, record("alice", 1), 0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = b.PublishJob(ctx, "acme.alice", job(1), "")
		}
	}()
	for range 200 {
		if _, err := b.Get(t.Context(), credential("alice")); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-done
}

func TestDenialsReachTheCallersHook(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{Users: []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{"nothing"}},
	}}}})
	heard := make(chan error, 10)
	nc := n.connectWith(broker.ConnectHooks{Error: func(err error) { heard <- err }}, nats.UserInfo("u", "p"))
	b := newBroker(t, nc, broker.Config{})
	if err := b.Check(t.Context()); !errors.Is(err, broker.ErrPermission) {
		t.Errorf("got %v", err)
	}
	if err := receive(t, heard); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("got %v", err)
	}
}

// TestBrokersShareWhatHearsTheirConnection: else each New would put a handler before the last one, for good.
func TestBrokersShareWhatHearsTheirConnection(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{Users: []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{"nothing"}},
	}}}})
	depth := make(chan int, 10)
	nc := n.connectWith(broker.ConnectHooks{Error: func(error) {
		depth <- runtime.Callers(0, make([]uintptr, 1000))
	}}, nats.UserInfo("u", "p"))
	denied := func(b *broker.Broker) int {
		t.Helper()
		if err := b.Check(t.Context()); !errors.Is(err, broker.ErrPermission) {
			t.Errorf("got %v", err)
		}
		return receive(t, depth)
	}
	first := newBroker(t, nc, broker.Config{})
	want := denied(first)
	for range 100 {
		newBroker(t, nc, broker.Config{})
	}
	if got := denied(newBroker(t, nc, broker.Config{})); got != want {
		t.Errorf("%d calls deep after 100 more Brokers, %d after one", got, want)
	}
	denied(first)
}

func TestDeniedSubjectInTheServersWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`nats: permissions violation: Permissions Violation for Publish to "a.b"`:                          "a.b",
		`nats: permissions violation: Permissions Violation for Subscription to "_INBOX.x.*"`:              "_INBOX.x.*",
		`nats: permissions violation: Permissions Violation for Subscription to "a" using queue "workers"`: "a",
		`nats: permissions violation: something new`:                                                       "",
	} {
		got, ok := broker.DeniedSubject(text)
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t", text, got, ok)
		}
	}
}

func TestSilentServerIsATimeoutWithItsSubject(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		n := startServer(t, natstest.Options{})
		nc := n.connect()
		b := newBroker(t, nc, broker.Config{RequestTimeout: time.Second, APIPrefix: "silent"})
		if _, err := nc.SubscribeSync("silent.>"); err != nil { // someone listens and never answers
			t.Fatal(err)
		}
		_, err := b.Get(t.Context(), credential("alice"))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "silent.STREAM.MSG.GET.KV_tokens") {
			t.Errorf("got %v", err)
		}
	})
}

func TestRequestEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{})
	nc := n.connect()
	b := newBroker(t, nc, broker.Config{RequestTimeout: time.Hour, APIPrefix: "silent"})
	asked := make(chan *nats.Msg, 1)
	if _, err := nc.ChanSubscribe("silent.>", asked); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := b.Get(t.Context(), credential("alice"))
		done <- err
	}()
	receive(t, asked)
	n.Stop()
	if err := receive(t, done); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("want ErrDisconnected, got %v", err)
	}
	n.start()
}
