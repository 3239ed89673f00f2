package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
)

func auditEntry() *nats.Msg {
	return &nats.Msg{Subject: "audit.deleted.acme.alice", Header: nats.Header{jetstream.MsgIDHeader: {"1"}}, Data: []byte("{}")}
}

// What was written stays, whoever wants it gone and however they go about it.
func TestAuditEntriesCannotBeTakenAway(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if err := b.StoreAudit(t.Context(), auditEntry()); err != nil {
		t.Fatal(err)
	}
	s, err := b.JetStream().Stream(t.Context(), "AUDIT")
	if err != nil {
		t.Fatal(err)
	}
	open := s.CachedInfo().Config
	open.DenyDelete, open.DenyPurge = false, false
	for what, try := range map[string]func() error{
		"delete": func() error { return s.DeleteMsg(t.Context(), 1) },
		"erase":  func() error { return s.SecureDeleteMsg(t.Context(), 1) },
		"purge":  func() error { return s.Purge(t.Context()) },
		"update": func() error { _, err := b.JetStream().UpdateStream(t.Context(), open); return err },
		"rollup": func() error {
			msg := auditEntry()
			msg.Header = nats.Header{"Nats-Rollup": {"all"}}
			_, err := b.JetStream().PublishMsg(t.Context(), msg)
			return err
		},
	} {
		if try() == nil {
			t.Errorf("%s: it is allowed", what)
		}
	}
	if info, err := s.Info(t.Context()); err != nil || info.State.Msgs != 1 {
		t.Errorf("%d entries, %v", info.State.Msgs, err)
	}
}

func TestAnEntryThatIsStoredTwiceIsThereOnce(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	n := 0
	for range 2 {
		if err := b.StoreAudit(t.Context(), auditEntry()); err != nil {
			t.Fatal(err)
		}
	}
	err := b.ReadAudit(t.Context(), time.Time{}, func(*nats.Msg) error { n++; return nil })
	if err != nil || n != 1 {
		t.Errorf("%d entries, %v", n, err)
	}
}

func TestEntriesGoToNoOtherStream(t *testing.T) {
	t.Parallel()
	b := newBroker(t, startServer(t, natstest.Options{}).connect(), broker.Config{})
	if err := b.StoreAudit(t.Context(), auditEntry()); !errors.Is(err, broker.ErrNotSetUp) {
		t.Errorf("no stream: %v", err)
	}
	if _, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"audit.>"}}); err != nil {
		t.Fatal(err)
	}
	if err := b.StoreAudit(t.Context(), auditEntry()); !errors.Is(err, broker.ErrNotSetUp) {
		t.Errorf("another stream: %v", err)
	}
	if err := b.ReadAudit(t.Context(), time.Time{}, func(*nats.Msg) error { return nil }); !errors.Is(err, broker.ErrNotSetUp) {
		t.Errorf("read: %v", err)
	}
	if there, err := b.HasAudit(t.Context()); there || err != nil {
		t.Errorf("there: %v, %v", there, err)
	}
}
