package refresh_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// newerStore is the store of a release to come: it writes schema 2, whose records have more to them, at the top and inside
// objects. "writes" counts its writes of a record: older code that lost what it does not know would take it away.
type newerStore struct {
	refresh.Store
	t *testing.T

	mu     sync.Mutex
	writes map[string]int // that worked, by key
}

func newer(t *testing.T, k *worker) *newerStore {
	s := &newerStore{Store: k.store.Store, t: t, writes: make(map[string]int)}
	k.store.Store = s
	return s
}

// members are a record's, or those of an object in it.
type members = map[string]any

func (s *newerStore) Put(ctx context.Context, w refresh.Write) (uint64, error) {
	all := membersOf(s.t, &w.Record)
	all["v"] = 2
	if all["dpop"] == nil {
		all["dpop"] = members{"jkt": "thumbprint of " + w.Record.Account}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all["writes"] = s.writes[w.Record.Credential().Key()] + 1
	for _, place := range [][2]string{{"policy", "window"}, {"claim", "host"}, {"doubt", "asked"}} {
		if object, ok := all[place[0]].(members); ok {
			object[place[1]] = "new in " + place[0]
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return 0, err
	}
	if w.Record, err = refresh.DecodeRecord(data); err != nil {
		return 0, err
	}
	revision, err := s.Store.Put(ctx, w)
	if err == nil {
		s.writes[w.Record.Credential().Key()]++
	}
	return revision, err
}

// membersOf is a record as it is stored.
func membersOf(t *testing.T, r *refresh.Record) members {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, data)
}

func parsed(t *testing.T, data []byte) (all members) {
	t.Helper()
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// wantNewer checks that nothing of schema 2 was lost from a record, however often older code wrote it.
func (s *newerStore) wantNewer(t *testing.T, r refresh.Record) {
	t.Helper()
	all := membersOf(t, &r)
	policy, _ := all["policy"].(members)
	dpop, _ := all["dpop"].(members)
	if n := s.writes[r.Credential().Key()]; all["writes"] != float64(n) || dpop["jkt"] != "thumbprint of "+r.Account || policy["window"] != "new in policy" {
		t.Errorf("after %d writes of the newer schema %s is %v", n, r.Credential(), all)
	}
}

// TestOldAndNewCodeShareABucket: workers of two releases take the same jobs, one after the other and at the same time. Each
// job is done once, nothing is presented twice, and what only the newer release knows stays.
func TestOldAndNewCodeShareABucket(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const credentials, rounds = 6, 8
		old, next := w.worker("old"), w.worker("new")
		schema2 := newer(t, next)
		var all []events.Credential
		for i := range credentials {
			c := w.enrol(fmt.Sprintf("acme/user-%d", i))
			w.change(c, func(r *refresh.Record) { r.Policy = &refresh.Policy{KeepAlive: provider.Duration(24 * time.Hour)} })
			all = append(all, c)
		}
		for round := range rounds {
			for _, c := range all {
				w.untilDue(c)
				w.turn(round, c, old, next)
				r := w.wantRecord(c, refresh.StateActive, uint64(round)+2)
				if round > 0 { // the newer release has written it
					schema2.wantNewer(t, r)
				}
			}
		}
		for _, c := range all {
			w.wantHeld(c)
			told := make(map[string]bool) // by id: whoever comes too late tells again
			for _, e := range w.told(c) {
				told[e.ID] = true
			}
			if len(told) != rounds {
				t.Errorf("%s: told %v, want %d versions", c, told, rounds)
			}
		}
		w.wantJudge("acme", judge{requests: credentials * rounds, rotations: credentials * rounds})
	})
}

// turn gives a job to the old worker, the new one, or both at once.
func (w *world) turn(round int, c events.Credential, old, next *worker) {
	w.t.Helper()
	job := w.scheduled(c)
	var wg sync.WaitGroup
	for i, k := range []*worker{old, next} {
		if round < 4 && round%2 != i {
			continue
		}
		wg.Go(func() {
			if res := k.Do(w.ctx, c, job); res.Err != nil {
				w.t.Errorf("%s: %+v", c, res)
			}
		})
	}
	wg.Wait()
}

// TestAReleaseTakesOverFromTheOther: a worker dies with an answer in its journal, and its host comes back with the other release.
func TestAReleaseTakesOverFromTheOther(t *testing.T) {
	for name, newerDies := range map[string]bool{"an upgrade": false, "a way back": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, dying := w.enrol("acme/alice"), w.worker("w1")
				w.change(c, func(r *refresh.Record) { r.Policy = &refresh.Policy{KeepAlive: provider.Duration(24 * time.Hour)} })
				var schema2 *newerStore
				if newerDies {
					schema2 = newer(t, dying)
				}
				dying.store.puts.set(die, pass)
				w.dies(dying, c, w.scheduled(c))
				next := w.worker("w1")
				if !newerDies {
					schema2 = newer(t, next)
				}
				for _, res := range next.recover(w.ctx) {
					wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
				}
				r := w.wantRecord(c, refresh.StateActive, 2)
				schema2.wantNewer(t, r)
				w.wantJudge("acme", judge{requests: 1, rotations: 1})
				w.wantHeld(c)
			})
		})
	}
}

// A record whose state only a newer release understands is left alone, and whoever meets it says so.
func TestAStateOfANewerSchemaIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("old")
		job, before := w.scheduled(c), w.record(c)
		all := membersOf(t, &before.Record)
		all["v"], all["state"] = 2, "frozen"
		data, err := json.Marshal(all)
		w.must(err)
		_, err = w.JetStream().PublishMsg(w.ctx, &nats.Msg{Subject: w.Names().RecordSubject(c), Data: data})
		w.must(err)
		res := k.Do(w.ctx, c, job)
		if !errors.Is(res.Err, refresh.ErrMalformed) || !strings.Contains(res.Err.Error(), `unknown state "frozen"`) {
			t.Errorf("said %v", res.Err)
		}
		if s, err := w.Get(w.ctx, c); s.Revision != before.Revision+1 || !errors.Is(err, refresh.ErrMalformed) {
			t.Errorf("revision %d after %d, %v", s.Revision, before.Revision, err)
		}
		w.wantJudge("acme", judge{})
	})
}

// A record of a schema to come, with something new in every object, is read, opened, and written as it was.
func TestGoldenRecordOfANewerSchema(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/v2.synthetic.record.json")
	if err != nil {
		t.Fatal(err)
	}
	r, err := refresh.DecodeRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := membersOf(t, &r), parsed(t, data); !reflect.DeepEqual(got, want) {
		t.Errorf("written as %v, was %v", got, want)
	}
	g, err := goldenKeys(t).OpenGrant(&r)
	if err != nil || g.RefreshToken.Reveal() != "rt-golden" {
		t.Errorf("the grant does not open: %v", err)
	}
}
