package audit_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
)

func TestMain(m *testing.M) { natstest.VerifyTestMain(m) }

var alice = events.Credential{Provider: "acme", Account: "alice@example.com"}

// world is NATS with everything that setup makes, and what a log has warned of.
type world struct {
	*testing.T
	broker *broker.Broker

	mu     sync.Mutex
	warned []error
	broken error // what storing fails with; nil: it works
}

func newWorld(t *testing.T) *world {
	t.Helper()
	srv := natstest.Run(t, natstest.Options{})
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(srv), nats.UserInfo("anna", ""))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { natstest.Close(nc) })
	w := &world{T: t}
	if w.broker, err = broker.New(nc, broker.Config{}); err == nil {
		_, err = w.broker.Setup(t.Context(), broker.SetupConfig{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) log() *audit.Log {
	return audit.New(audit.Config{
		Store: w.store, NoStream: broker.ErrNotSetUp, Source: "freshet/test", Actor: audit.ActorOf("test", w.broker.Conn()),
		Warn: func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.warned = append(w.warned, err)
		},
	})
}

func (w *world) store(ctx context.Context, msg *nats.Msg) error {
	w.mu.Lock()
	broken := w.broken
	w.mu.Unlock()
	if broken != nil {
		return broken
	}
	return w.broker.StoreAudit(ctx, msg)
}

// errAway stands for a NATS that does not answer.
var errAway = errors.New("away")

func (w *world) setBroken(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = err
}

func (w *world) warnings() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.warned
}

func (w *world) loseStream() {
	w.Helper()
	if err := w.broker.JetStream().DeleteStream(w.Context(), w.broker.Names().AuditStream()); err != nil {
		w.Fatal(err)
	}
}

// entries reads what a filter wants.
func (w *world) entries(f audit.Filter) (all []audit.Entry) {
	w.Helper()
	err := audit.Read(w.Context(), w.broker.ReadAudit, events.Names{}, f,
		func(e audit.Entry) error { all = append(all, e); return nil }, func(err error) { w.Error(err) })
	if err != nil {
		w.Fatal(err)
	}
	return all
}
