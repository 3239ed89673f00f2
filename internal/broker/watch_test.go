package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// watching is a watch whose doings can be waited for.
type watching struct {
	seen   chan broker.Seen
	caught chan struct{}
	stop   func() error
	ended  chan error
}

func watch(tb testing.TB, b *broker.Broker, cfg broker.WatchConfig) *watching {
	tb.Helper()
	w := &watching{seen: make(chan broker.Seen, 10_000), caught: make(chan struct{}, 10), ended: make(chan error, 1)}
	w.stop = run(tb, func(ctx context.Context) error {
		err := b.WatchRecords(ctx, cfg, func(s broker.Seen) { w.seen <- s }, func() { w.caught <- struct{}{} })
		w.ended <- err
		return err
	})
	return w
}

func TestWatchTellsWhatIsThereThenWhatComes(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	revs := map[string]uint64{}
	for i := range 50 {
		account := fmt.Sprintf("user%d", i)
		revs["acme."+account] = mustPut(t, b, record(account, 1), 0)
	}
	w := watch(t, b, broker.WatchConfig{})
	receive(t, w.caught)
	if len(w.seen) != len(revs) {
		t.Fatalf("caught up after %d of %d records", len(w.seen), len(revs))
	}
	for range revs {
		s := receive(t, w.seen)
		if s.Err != nil || s.Revision != revs[s.Key] || s.Summary.Version != 1 || s.Summary.State != refresh.StateActive || s.StoredAt.IsZero() {
			t.Errorf("got %+v", s)
		}
	}
	rev := mustPut(t, b, record("user7", 2), revs["acme.user7"])
	if s := receive(t, w.seen); s.Key != "acme.user7" || s.Revision != rev || s.Summary.Version != 2 {
		t.Errorf("live: got %+v", s)
	}
	if err := w.stop(); err != nil {
		t.Errorf("want nil at the end of the context, got %v", err)
	}
	if len(w.caught) != 0 {
		t.Error("caughtUp was called again")
	}
}

func TestWatchOfEmptyBucketIsCaughtUp(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	w := watch(t, b, broker.WatchConfig{})
	receive(t, w.caught)
	mustPut(t, b, record("alice", 1), 0)
	if s := receive(t, w.seen); s.Key != "acme.alice" {
		t.Errorf("got %+v", s)
	}
}

func TestWatchOnceEnds(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	for want := range 3 {
		w := watch(t, b, broker.WatchConfig{Once: true})
		if err := receive(t, w.ended); err != nil {
			t.Fatal(err)
		}
		if len(w.seen) != want || len(w.caught) != 1 {
			t.Fatalf("%d seen, want %d; caught up %d times", len(w.seen), want, len(w.caught))
		}
		mustPut(t, b, record(fmt.Sprintf("user%d", want), 1), 0)
	}
}

func TestWatchFilter(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	mustPut(t, b, record("tenant/alice", 1), 0)
	mustPut(t, b, record("bob", 1), 0)
	w := watch(t, b, broker.WatchConfig{Filter: "acme.tenant.>", Once: true})
	if err := receive(t, w.ended); err != nil {
		t.Fatal(err)
	}
	if len(w.seen) != 1 || receive(t, w.seen).Key != "acme.tenant.alice" {
		t.Fatal("want the tenant's record alone")
	}
}

func TestWatchShowsOddRecords(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	kv, err := b.JetStream().KeyValue(t.Context(), "tokens")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "acme.byhand", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	bad := nats.NewMsg("$KV.tokens.acme.poison")
	bad.Header = nats.Header{"Freshet-State": {"active"}, "Freshet-Version": {"many"}}
	if _, err := b.JetStream().PublishMsg(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	mustPut(t, b, record("gone", 1), 0)
	if err := kv.Delete(t.Context(), "acme.gone"); err != nil {
		t.Fatal(err)
	}
	w := watch(t, b, broker.WatchConfig{Once: true})
	if err := receive(t, w.ended); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s := receive(t, w.seen)
		switch s.Key {
		case "acme.byhand":
			if !errors.Is(s.Err, refresh.ErrNoSummary) {
				t.Errorf("got %+v", s)
			}
		case "acme.poison":
			if s.Err == nil || errors.Is(s.Err, refresh.ErrNoSummary) {
				t.Errorf("got %+v", s)
			}
		case "acme.gone":
			if !s.Gone || s.Err != nil {
				t.Errorf("got %+v", s)
			}
		default:
			t.Errorf("got %+v", s)
		}
	}
}

func TestWatchEndsWithTheServerAndIsRebuilt(t *testing.T) {
	t.Parallel()
	b, n := setUp(t)
	rev := mustPut(t, b, record("alice", 1), 0)
	w := watch(t, b, broker.WatchConfig{})
	receive(t, w.caught)
	n.Stop()
	if err := receive(t, w.ended); !errors.Is(err, broker.ErrWatchLost) {
		t.Fatalf("want ErrWatchLost, got %v", err)
	}
	connected := b.Conn().StatusChanged(nats.CONNECTED)
	n.start()
	receive(t, connected)
	mustPut(t, b, record("alice", 2), rev)
	w = watch(t, b, broker.WatchConfig{})
	receive(t, w.caught)
	if s := receive(t, w.seen); s.Key != "acme.alice" || s.Summary.Version != 2 {
		t.Errorf("got %+v", s)
	}
}

func TestWatchEndsWhenItsConsumerIsDeleted(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		w := watch(t, b, broker.WatchConfig{})
		receive(t, w.caught)
		stream, err := b.JetStream().Stream(t.Context(), "KV_tokens")
		if err != nil {
			t.Fatal(err)
		}
		for name := range stream.ConsumerNames(t.Context()).Name() {
			if err := stream.DeleteConsumer(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		if err := receive(t, w.ended); !errors.Is(err, broker.ErrWatchLost) {
			t.Fatalf("want ErrWatchLost, got %v", err)
		}
	})
}

func TestQuietWatchLasts(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		w := watch(t, b, broker.WatchConfig{})
		receive(t, w.caught)
		time.Sleep(10 * time.Minute)
		mustPut(t, b, record("alice", 1), 0)
		if s := receive(t, w.seen); s.Key != "acme.alice" {
			t.Errorf("got %+v", s)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestWatchWithSlowHandlerLasts(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b, _ := setUp(t)
		for i := range 20 {
			mustPut(t, b, record(fmt.Sprintf("user%d", i), 1), 0)
		}
		n := 0
		err := b.WatchRecords(t.Context(), broker.WatchConfig{Once: true}, func(broker.Seen) {
			time.Sleep(time.Minute)
			n++
		}, nil)
		if err != nil || n != 20 {
			t.Errorf("%d records, %v", n, err)
		}
	})
}

func TestNoHandlerAfterTheEndOfAWatch(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{}, 1)
	over := false // deliberately unguarded: the race detector watches
	done := make(chan error, 1)
	go func() {
		done <- b.WatchRecords(ctx, broker.WatchConfig{}, func(broker.Seen) {
			if over {
				t.Error("handled after the end")
			}
			select {
			case started <- struct{}{}:
			default:
			}
		}, nil)
	}()
	var writers sync.WaitGroup
	writers.Go(func() {
		rev := uint64(0)
		for range 200 {
			rev = mustPut(t, b, record("alice", 1), rev)
		}
	})
	receive(t, started)
	cancel()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	over = true
	writers.Wait()
}

// TestWatchCatchesUpUnderWrites rewrites half of what is there while it is delivered: what stays must have been seen when
// the watch says that it has caught up, what changes must be seen in the end.
func TestWatchCatchesUpUnderWrites(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	const keys = 400
	revs := make([]uint64, keys)
	for i := range keys {
		revs[i] = mustPut(t, b, record(fmt.Sprintf("user%d", i), 1), 0)
	}
	writing, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	writers.Go(func() {
		for i := 0; writing.Err() == nil; i++ {
			k := (keys - 1 - i%keys) | 1 // odd ones, from the end
			revs[k] = mustPut(t, b, record(fmt.Sprintf("user%d", k), 2), revs[k])
		}
	})
	defer writers.Wait()
	defer cancel()
	for range 5 {
		seen := map[string]uint64{}
		all := make(chan struct{}, 1)
		told := false
		stop := run(t, func(ctx context.Context) error {
			return b.WatchRecords(ctx, broker.WatchConfig{}, func(s broker.Seen) {
				if s.Revision <= seen[s.Key] {
					t.Errorf("%s: revision %d after %d", s.Key, s.Revision, seen[s.Key])
				}
				if seen[s.Key] = s.Revision; len(seen) == keys && !told {
					told = true
					all <- struct{}{}
				}
			}, func() {
				for i := 0; i < keys; i += 2 {
					if seen[fmt.Sprintf("acme.user%d", i)] != revs[i] {
						t.Errorf("user%d is not there when caught up", i)
					}
				}
			})
		})
		receive(t, all)
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestWatchLeavesNoConsumerBehind(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	w := watch(t, b, broker.WatchConfig{})
	receive(t, w.caught)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	stream, err := b.JetStream().Stream(t.Context(), "KV_tokens")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers left", n)
	}
}

func TestWatchProviders(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	type told struct {
		name string
		e    provider.Entry
		rev  uint64
		err  error
	}
	rev, err := b.PutProvider(t.Context(), "acme", provider.Entry{Definition: acme()}, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen, caught := make(chan told, 10), make(chan struct{}, 1)
	run(t, func(ctx context.Context) error {
		return b.WatchProviders(ctx, func(name string, e provider.Entry, rev uint64, err error) {
			seen <- told{name, e, rev, err}
		}, func() { caught <- struct{}{} })
	})
	receive(t, caught)
	if got := receive(t, seen); got.name != "acme" || got.rev != rev || got.err != nil || got.e.TokenURL != acme().TokenURL {
		t.Errorf("got %+v", got)
	}
	kv, err := b.JetStream().KeyValue(t.Context(), "providers")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "broken", "x"); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, seen); got.name != "broken" || !errors.Is(got.err, provider.ErrMalformed) {
		t.Errorf("got %+v", got)
	}
	if err := kv.Delete(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, seen); got.name != "acme" || !errors.Is(got.err, broker.ErrUnknownProvider) || got.rev <= rev {
		t.Errorf("got %+v", got)
	}
	all, err := b.Providers(t.Context())
	if err != nil || len(all) != 1 || all["broken"].Err == nil {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestBrokenHistoryIsNoTrouble(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	// An operator gave the bucket a history: older revisions come first, and do no harm.
	cfg := jetstream.StreamConfig{
		Name: "KV_tokens", Subjects: []string{"$KV.tokens.>"}, MaxMsgsPerSubject: 5, Discard: jetstream.DiscardNew,
		DenyDelete: true, AllowDirect: true,
	}
	if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	rev := mustPut(t, b, record("alice", 1), 0)
	mustPut(t, b, record("alice", 2), rev)
	var versions []uint64
	err := b.WatchRecords(t.Context(), broker.WatchConfig{Once: true}, func(s broker.Seen) {
		versions = append(versions, s.Summary.Version)
	}, nil)
	if err != nil || len(versions) == 0 || versions[len(versions)-1] != 2 {
		t.Errorf("got %v, %v", versions, err)
	}
}

func TestPlaceOfADelivery(t *testing.T) {
	t.Parallel()
	type place struct{ stream, consumer, at uint64 }
	for _, tt := range []struct {
		name, reply string
		want        place
		ok          bool
	}{
		{"as it was", "$JS.ACK.KV_tokens.watch.1.12.34.1800000000000000001.56", place{12, 34, 1800000000000000001}, true},
		{"with a domain", "$JS.ACK.hub.ACCOUNT.KV_tokens.watch.1.12.34.1800000000000000001.56", place{12, 34, 1800000000000000001}, true},
		{"with a domain and more", "$JS.ACK._.ACCOUNT.KV_tokens.watch.1.12.34.5.56.token", place{12, 34, 5}, true},
		{"too short", "$JS.ACK.watch.1.12.34.5.56", place{}, false},
		{"in between", "$JS.ACK.KV_tokens.watch.1.12.34.5.56.more", place{}, false},
		{"not a number", "$JS.ACK.KV_tokens.watch.1.12.x.5.56", place{}, false},
		{"something else", "$JS.FC.KV_tokens.watch.1.12.34.5.56", place{}, false},
		{"nothing", "", place{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stream, consumer, at, ok := broker.PlaceOf(tt.reply)
			if got := (place{stream, consumer, at}); ok != tt.ok || ok && got != tt.want {
				t.Errorf("got %+v, %t; want %+v, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
}
