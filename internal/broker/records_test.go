package broker_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	before := time.Now()
	want := record("tenant/alice@example.com", 7)
	rev := mustPut(t, b, want, 0)
	got, err := b.Get(t.Context(), want.Credential())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Record, want) || got.Revision != rev || got.Headerless {
		t.Errorf("got %+v, want %+v at %d", got, want, rev)
	}
	if got.StoredAt.Before(before.Add(-time.Second)) || got.StoredAt.After(time.Now().Add(time.Second)) {
		t.Errorf("stored at %v", got.StoredAt)
	}
	if next := mustPut(t, b, want, rev); next <= rev {
		t.Errorf("revision %d after %d", next, rev)
	}
}

func TestPutConflicts(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	rev := mustPut(t, b, record("alice", 1), 0)
	for _, tt := range []struct {
		name     string
		account  string
		revision uint64
	}{
		{"there must be none and there is", "alice", 0},
		{"not the last revision", "alice", rev + 7},
		{"there must be one and there is none", "bob", 3},
	} {
		_, err := b.Put(t.Context(), refresh.Write{Record: record(tt.account, 2), Revision: tt.revision})
		if !errors.Is(err, refresh.ErrConflict) {
			t.Errorf("%s: want ErrConflict, got %v", tt.name, err)
		}
	}
	if got, err := b.Get(t.Context(), credential("alice")); err != nil || got.Record.Version != 1 {
		t.Errorf("a refused write must leave the record: %+v, %v", got, err)
	}
}

func TestContendedPutHasOneWinner(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	rev := uint64(0)
	for round := range uint64(20) {
		var won atomic.Uint64
		var wins atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				next, err := b.Put(t.Context(), refresh.Write{Record: record("alice", round+1), Revision: rev})
				switch {
				case err == nil:
					wins.Add(1)
					won.Store(next)
				case !errors.Is(err, refresh.ErrConflict):
					t.Errorf("want ErrConflict, got %v", err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("round %d: %d winners", round, wins.Load())
		}
		rev = won.Load()
	}
}

func TestReadsSeeEveryWriteBefore(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	rev := uint64(0)
	for v := range uint64(200) {
		rev = mustPut(t, b, record("alice", v+1), rev)
		got, err := b.Get(t.Context(), credential("alice"))
		if err != nil || got.Revision != rev || got.Record.Version != v+1 {
			t.Fatalf("after revision %d: %+v, %v", rev, got, err)
		}
	}
}

func TestReadsGoToTheLeader(t *testing.T) {
	t.Parallel()
	b, n := setUp(t)
	direct := make(chan string, 10)
	sub, err := n.connect().Subscribe("$JS.API.DIRECT.>", func(m *nats.Msg) { direct <- m.Subject })
	if err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, record("alice", 1), 0)
	if _, err := b.Get(t.Context(), credential("alice")); err != nil {
		t.Fatal(err)
	}
	if err := sub.Drain(); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-direct:
		t.Errorf("direct get on %s", s)
	default:
	}
}

func TestAPeekShowsTheRecord(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	r := record("alice", 1)
	r.Claim = &refresh.Claim{Attempt: "a", Worker: "w", TTL: provider.Duration(time.Minute), At: time.Now().UTC()}
	mustPut(t, b, r, 0)
	want, err := b.Get(t.Context(), credential("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Peek(t.Context(), credential("alice")); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := b.Peek(t.Context(), credential("bob")); !errors.Is(err, refresh.ErrNotFound) {
		t.Errorf("no record: %v", err)
	}
	kv, err := b.JetStream().KeyValue(t.Context(), "tokens")
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), "acme.alice"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Peek(t.Context(), credential("alice")); !errors.Is(err, refresh.ErrNotFound) || got.Revision == 0 {
		t.Errorf("deleted: %+v, %v", got, err)
	}
}

func TestMissingAndDeletedRecords(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	got, err := b.Get(t.Context(), credential("alice"))
	if !errors.Is(err, refresh.ErrNotFound) || got.Revision != 0 {
		t.Fatalf("never written: %+v, %v", got, err)
	}
	kv, err := b.JetStream().KeyValue(t.Context(), "tokens")
	if err != nil {
		t.Fatal(err)
	}
	rev := uint64(0)
	for _, remove := range []func() error{
		func() error { return kv.Delete(t.Context(), "acme.alice") },
		func() error { // as a purge's marker; Purge itself is a rollup, which the bucket refuses
			_, err := b.JetStream().PublishMsg(t.Context(), &nats.Msg{
				Subject: "$KV.tokens.acme.alice", Header: nats.Header{"KV-Operation": {"PURGE"}},
			})
			return err
		},
	} {
		mustPut(t, b, record("alice", 1), rev)
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		got, err := b.Get(t.Context(), credential("alice"))
		if !errors.Is(err, refresh.ErrNotFound) || got.Revision == 0 || got.StoredAt.IsZero() {
			t.Fatalf("want ErrNotFound with the marker's revision, got %+v, %v", got, err)
		}
		rev = got.Revision
	}
	mustPut(t, b, record("alice", 2), rev)
}

func TestMalformedRecords(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	other := record("bob", 1)
	swapped, err := other.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"not JSON": []byte("hello"), "empty": nil, "no record": []byte(`{"v":1}`), "another's record": swapped,
	} {
		ack, err := b.JetStream().Publish(t.Context(), "$KV.tokens.acme.alice", data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Get(t.Context(), credential("alice"))
		if !errors.Is(err, refresh.ErrMalformed) || got.Revision != ack.Sequence || got.StoredAt.IsZero() {
			t.Errorf("%s: want ErrMalformed with the revision, got %+v, %v", name, got, err)
		}
	}
}

func TestRecordWrittenByHandIsHeaderless(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	r := record("alice", 3)
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), "$KV.tokens.acme.alice", data); err != nil {
		t.Fatal(err)
	}
	got, err := b.Get(t.Context(), credential("alice"))
	if err != nil || !got.Headerless || got.Record.Version != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	mustPut(t, b, got.Record, got.Revision)
	if got, err = b.Get(t.Context(), credential("alice")); err != nil || got.Headerless {
		t.Fatalf("after the repair: %+v, %v", got, err)
	}
}

func TestTooLargeRecordIsNotSent(t *testing.T) {
	t.Parallel()
	n := startServer(t, natstest.Options{MaxPayload: 64 << 10})
	nc := n.connect()
	b := newBroker(t, nc, broker.Config{})
	mustSetup(t, b)
	r := record("alice", 1)
	r.Grant = make([]byte, 64<<10)
	sent := nc.Stats().OutMsgs
	if _, err := b.Put(t.Context(), refresh.Write{Record: r}); !errors.Is(err, refresh.ErrTooLarge) {
		t.Fatalf("want ErrTooLarge, got %v", err)
	}
	if got := nc.Stats().OutMsgs; got != sent {
		t.Errorf("%d messages went out", got-sent)
	}
}

func TestPutRefusesWhatHasNoKey(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	for _, r := range []refresh.Record{{Provider: "*", Account: "a"}, {Provider: "acme"}, {Provider: "acme", Account: strings.Repeat("x", 300)}} {
		if _, err := b.Put(t.Context(), refresh.Write{Record: r}); !errors.Is(err, events.ErrName) {
			t.Errorf("%s: want ErrName, got %v", r.Credential(), err)
		}
	}
}

func TestRecordsListsValues(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	rev := mustPut(t, b, record("tenant0/user", 1), 0)
	mustPut(t, b, record("tenant1/user", 1), 0)
	mustPut(t, b, record("tenant0/user", 2), rev)
	if _, err := b.JetStream().Publish(t.Context(), "$KV.tokens.acme.broken", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]string{
		"": "acme/tenant0/user acme/tenant1/user malformed", "acme.tenant1.>": "acme/tenant1/user", "other.>": "",
	} {
		var got []string
		err := b.Records(t.Context(), filter, func(s refresh.Stored, err error) error {
			switch {
			case errors.Is(err, refresh.ErrMalformed):
				got = append(got, "malformed")
			case err != nil:
				t.Error(err)
			default:
				got = append(got, s.Record.Credential().String())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if words := strings.Join(got, " "); words != want {
			t.Errorf("%q: got %q, want %q", filter, words, want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Records(ended, "", func(refresh.Stored, error) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("half a list must not pass for a whole one: %v", err)
	}
	stop := errors.New("enough")
	if err := b.Records(t.Context(), "", func(refresh.Stored, error) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("want the callback's error, got %v", err)
	}
}
