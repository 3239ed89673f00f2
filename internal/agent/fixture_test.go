package agent_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/agent"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// patience bounds every wait in these tests. It is reached only when something is broken.
const patience = 30 * time.Second

// stage is a NATS server with a tokens bucket, and a client of it.
type stage struct {
	t      *testing.T
	server *natstest.Server
	js     jetstream.JetStream
	keys   refresh.Keys
	client *tokens.Client
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, server: natstest.Run(t, natstest.Options{})}
	js, err := jetstream.New(s.connect())
	if err != nil {
		t.Fatal(err)
	}
	var names events.Names
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: names.TokensStream(), Subjects: []string{names.RecordKeySubject(">")}, MaxMsgsPerSubject: 1, AllowDirect: true,
	}); err != nil {
		t.Fatal(err)
	}
	s.js, s.keys = js, refresh.Keys{Bucket: names.TokensBucket(), Grant: natstest.Keyset(t), Access: natstest.Keyset(t)}
	s.client, err = tokens.Open(t.Context(), s.connect(), tokens.Config{AccessKeyset: s.keys.Access, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.Close() })
	return s
}

func (s *stage) connect() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s.server), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { natstest.Close(nc) })
	return nc
}

// put commits a version of acme's account, and tells of it. Its token is called access-ACCOUNT-VERSION.
func (s *stage) put(account string, version uint64, state refresh.State) string {
	s.t.Helper()
	now := time.Now().UTC()
	r := refresh.Record{
		V: refresh.SchemaVersion, Provider: "acme", Account: account, GrantID: refresh.NewGrantID(), Generation: 1, Version: version,
		State: state, TokenType: "Bearer", Scopes: []string{"read", "write"},
		IssuedAt: now, ExpiresAt: now.Add(time.Hour), RefreshAt: now.Add(45 * time.Minute),
	}
	access := fmt.Sprintf("access-%s-%d", account, version)
	if !state.Withdrawn() {
		if err := s.keys.Seal(&r, refresh.Grant{RefreshToken: seal.NewSecret("refresh")}, seal.NewSecret(access)); err != nil {
			s.t.Fatal(err)
		}
	}
	data, err := r.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	var names events.Names
	ack, err := s.js.PublishMsg(s.t.Context(), &nats.Msg{
		Subject: names.RecordSubject(r.Credential()), Header: r.Summary(refresh.Announcement{}).Header(), Data: data,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	msg, err := events.Encode(names, refresh.CurrentEvent(&refresh.Stored{Record: r, Revision: ack.Sequence}, "freshet/test", now))
	if err := errors.Join(err, s.js.Conn().PublishMsg(msg)); err != nil {
		s.t.Fatal(err)
	}
	return access
}

// run runs an agent until the test ends, or stop is called.
func (s *stage) run(cfg agent.Config) (where []string, stop func()) {
	s.t.Helper()
	a, err := agent.Open(s.t.Context(), cfg, s.client, zerolog.Nop(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-over; err != nil {
			s.t.Errorf("Run: %v", err)
		}
	}
	s.t.Cleanup(stop)
	return a.Where(), stop
}

// socket returns an address for a Unix socket; paths of tests are too long for one in the usual place.
func socketAddress(t *testing.T) string {
	t.Helper()
	return "unix://" + filepath.Join(t.TempDir(), "s")
}

// await polls until ok: what it waits for happens on goroutines that tell nobody, or in other processes.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("never seen: " + what)
		case <-tick.C:
		}
	}
}
