package simulation_test

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// subject is a store under test, and what others may do to it.
type subject struct {
	refresh.Store
	erase func(events.Credential)             // deletes a key, leaving a marker
	raw   func(c events.Credential, _ []byte) // writes by hand, without headers
}

// TestStoresAgree: what the simulation finds out about the store in memory holds for the bucket.
func TestStoresAgree(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) subject{"memory": inMemory, "bucket": inBucket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			for name, test := range map[string]func(*testing.T, subject, events.Credential){
				"a record comes back as it was":           comesBack,
				"writes are conditional on the revision":  conditional,
				"of many writers at once one wins":        oneWins,
				"a deleted key leaves its revision":       leavesRevision,
				"what cannot be read says its revision":   malformed,
				"a record written by hand has no headers": headerless,
				"what is too large is not written":        tooLarge,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					test(t, s, events.Credential{Provider: "acme", Account: t.Name()})
				})
			}
		})
	}
}

func inMemory(*testing.T) subject {
	m := newMemory()
	return subject{Store: m, erase: m.erase, raw: m.raw}
}

func inBucket(t *testing.T) subject {
	s, err := server.NewServer(&server.Options{
		ServerName: "test", DontListen: true, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	must(t, err)
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	nc, err := nats.Connect("", append(broker.ConnectOptions(broker.ConnectHooks{}), nats.InProcessServer(s))...)
	must(t, err)
	t.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		nc.Close()
		<-closed
		s.Shutdown()
		s.WaitForShutdown()
	})
	b, err := broker.New(nc, broker.Config{})
	must(t, err)
	_, err = b.Setup(t.Context(), broker.SetupConfig{})
	must(t, err)
	bucket, err := b.JetStream().KeyValue(t.Context(), b.Names().TokensBucket())
	must(t, err)
	return subject{
		Store: b,
		erase: func(c events.Credential) { must(t, bucket.Delete(t.Context(), c.Key())) },
		raw: func(c events.Credential, data []byte) {
			_, err := b.JetStream().Publish(t.Context(), b.Names().RecordSubject(c), data)
			must(t, err)
		},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sample is a record with something in most fields.
func sample(c events.Credential, version uint64) refresh.Record {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return refresh.Record{
		V: refresh.SchemaVersion, Provider: c.Provider, Account: c.Account, GrantID: "abcdefghijklmnop", Generation: 1, Version: version,
		State: refresh.StateActive, IssuedAt: at, ExpiresAt: at.Add(time.Hour), RefreshAt: at.Add(40 * time.Minute),
		Claim: &refresh.Claim{Attempt: "a", Worker: "w", At: at}, Last: &refresh.Last{Attempt: "b", Outcome: refresh.ClassOK},
		Access: []byte("access"), Grant: []byte("grant"),
	}
}

func put(t *testing.T, s subject, c events.Credential, version, revision uint64) uint64 {
	t.Helper()
	rev, err := s.Put(t.Context(), refresh.Write{Record: sample(c, version), Revision: revision})
	must(t, err)
	return rev
}

func comesBack(t *testing.T, s subject, c events.Credential) {
	before := time.Now()
	rev := put(t, s, c, 7, 0)
	got, err := s.Get(t.Context(), c)
	must(t, err)
	if !reflect.DeepEqual(got.Record, sample(c, 7)) || got.Revision != rev || got.Headerless {
		t.Errorf("got %+v at %d", got, rev)
	}
	if got.StoredAt.Before(before.Add(-time.Second)) || got.StoredAt.After(time.Now().Add(time.Second)) {
		t.Errorf("stored at %v", got.StoredAt)
	}
	got.Record.Claim.Attempt = "changed by the reader"
	if again, err := s.Get(t.Context(), c); err != nil || again.Record.Claim.Attempt != "a" {
		t.Errorf("a reader changed what is stored: %+v, %v", again, err)
	}
	if next := put(t, s, c, 8, rev); next <= rev {
		t.Errorf("revision %d after %d", next, rev)
	}
}

func conditional(t *testing.T, s subject, c events.Credential) {
	rev := put(t, s, c, 1, 0)
	other := events.Credential{Provider: c.Provider, Account: c.Account + "/other"}
	for name, w := range map[string]refresh.Write{
		"there must be none and there is":     {Record: sample(c, 2)},
		"it is not at that revision":          {Record: sample(c, 2), Revision: rev + 1000},
		"there must be one and there is none": {Record: sample(other, 2), Revision: rev},
	} {
		if _, err := s.Put(t.Context(), w); !errors.Is(err, refresh.ErrConflict) {
			t.Errorf("%s: want ErrConflict, got %v", name, err)
		}
	}
	if got, err := s.Get(t.Context(), c); err != nil || got.Revision != rev || got.Record.Version != 1 {
		t.Errorf("a refused write changed the record: %+v, %v", got, err)
	}
}

func oneWins(t *testing.T, s subject, c events.Credential) {
	rev := uint64(0)
	for round := range uint64(5) {
		var won atomic.Uint64
		var wins atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				next, err := s.Put(t.Context(), refresh.Write{Record: sample(c, round+1), Revision: rev})
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

func leavesRevision(t *testing.T, s subject, c events.Credential) {
	if got, err := s.Get(t.Context(), c); !errors.Is(err, refresh.ErrNotFound) || got.Revision != 0 {
		t.Fatalf("never written: %+v, %v", got, err)
	}
	rev := put(t, s, c, 1, 0)
	s.erase(c)
	got, err := s.Get(t.Context(), c)
	if !errors.Is(err, refresh.ErrNotFound) || got.Revision <= rev {
		t.Fatalf("want ErrNotFound with the marker's revision, got %+v, %v", got, err)
	}
	if _, err := s.Put(t.Context(), refresh.Write{Record: sample(c, 2)}); !errors.Is(err, refresh.ErrConflict) {
		t.Errorf("over a marker as if nothing had been there: want ErrConflict, got %v", err)
	}
	put(t, s, c, 2, got.Revision)
}

func malformed(t *testing.T, s subject, c events.Credential) {
	rev := put(t, s, c, 1, 0)
	s.raw(c, []byte("hello"))
	got, err := s.Get(t.Context(), c)
	if !errors.Is(err, refresh.ErrMalformed) || got.Revision <= rev {
		t.Fatalf("want ErrMalformed with the revision, got %+v, %v", got, err)
	}
	put(t, s, c, 2, got.Revision)
}

func headerless(t *testing.T, s subject, c events.Credential) {
	r := sample(c, 3)
	data, err := r.Encode()
	must(t, err)
	s.raw(c, data)
	got, err := s.Get(t.Context(), c)
	if err != nil || !got.Headerless || got.Record.Version != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	put(t, s, c, 3, got.Revision)
	if got, err = s.Get(t.Context(), c); err != nil || got.Headerless {
		t.Errorf("after the repair: %+v, %v", got, err)
	}
}

func tooLarge(t *testing.T, s subject, c events.Credential) {
	r := sample(c, 1)
	r.Grant = make([]byte, maxRecord)
	if _, err := s.Put(t.Context(), refresh.Write{Record: r}); !errors.Is(err, refresh.ErrTooLarge) {
		t.Fatalf("want ErrTooLarge, got %v", err)
	}
	if got, err := s.Get(t.Context(), c); !errors.Is(err, refresh.ErrNotFound) || got.Revision != 0 {
		t.Errorf("something was written: %+v, %v", got, err)
	}
}
