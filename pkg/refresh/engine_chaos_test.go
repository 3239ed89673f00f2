package refresh_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// chaos is a fleet of two in which every write and every read may fail, and each process may die at it. What it may not
// lose is the disk with a worker's journal.
type chaos struct {
	*world
	rng     *rand.Rand
	workers [2]*worker
}

// At a provider that forgives nothing: whatever fails and whoever dies, no refresh token is presented twice, none is
// lost, and every version is told.
func TestNothingIsLostWhateverFails(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := w.enrol("acme/alice")
				x := &chaos{world: w, rng: rand.New(rand.NewPCG(seed, 0))}
				x.start(0)
				x.start(1)
				for range 12 {
					x.refresh(c)
					x.recover()
					time.Sleep(10 * time.Second) // as old as a token must be before somebody may demand a newer one
				}
				x.calm(c)
				r := w.record(c).Record
				if r.Version < 4 {
					t.Errorf("version %d: hardly anything was done", r.Version)
				}
				rotations := int64(r.Version) - 1
				l := w.servers["acme"].Ledger()
				if l.Rotations != rotations || l.Replayed+l.LastTries+l.Concurrent+l.Revoked != 0 {
					t.Errorf("version %d, ledger %+v", r.Version, l)
				}
				w.wantHeld(c)
				w.use(c, 200)
				x.wantTold(t, c, r.Version)
			})
		})
	}
}

// start starts a worker, with what an earlier one left in its journal.
func (x *chaos) start(i int) {
	k := x.worker(fmt.Sprint("w", i+1))
	k.store.puts.set(x.mishap(10, 10, 8))
	k.store.gets.set(x.mishap(15, 0, 2))
	k.teller.tells.set(x.mishap(15, 10, 5))
	k.journal.commits.set(x.mishap(5, 5, 5))
	x.workers[i] = k
}

// mishap fails that many calls in a hundred before they take effect, after it, or for ever.
func (x *chaos) mishap(before, afterwards, deadly int) step {
	return func(do func() error) error {
		switch n := x.rng.IntN(100); {
		case n < before:
			return lost(do)
		case n < before+afterwards:
			return deaf(do)
		case n < before+afterwards+deadly/2:
			return die(do)
		case n < before+afterwards+deadly:
			return deadOnceDone(do)
		default:
			return do()
		}
	}
}

// process runs f in a worker. When it dies, another one takes its place.
func (x *chaos) process(i int, f func(k *worker)) (survived bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(x.workers[i])
		survived = true
	}()
	<-done
	if !survived {
		x.must(x.workers[i].log.Close())
		x.start(i)
	}
	return survived
}

// refresh delivers a job until somebody acknowledges it.
func (x *chaos) refresh(c events.Credential) {
	job := x.scheduled(c)
	if r := x.record(c).Record; r.State == refresh.StateUncertain {
		time.Sleep(time.Until(r.RefreshAt)) // somebody died right after the claim: the last try
	} else {
		job.Reason = events.ReasonDemand
	}
	for {
		var res refresh.Result
		if !x.process(x.rng.IntN(2), func(k *worker) { res = k.Do(x.ctx, c, job) }) {
			time.Sleep(50 * time.Second) // redelivered after the lane's AckWait
			continue
		}
		if res.Verdict == refresh.VerdictAck {
			return
		}
	}
}

// recover lets every worker see to its journal until nothing waits there.
func (x *chaos) recover() {
	for i := range x.workers {
		for len(x.workers[i].log.Pending()) > 0 {
			x.process(i, func(k *worker) { k.recover(x.ctx) })
		}
	}
}

// calm ends all mishaps and lets everybody finish.
func (x *chaos) calm(c events.Credential) {
	for _, k := range x.workers {
		for _, s := range []*script{&k.store.puts, &k.store.gets, &k.teller.tells, &k.journal.commits} {
			s.set(nil)
		}
	}
	job := x.scheduled(c)
	job.NewerThan = 0
	wantResult(x.t, x.workers[0].Do(x.ctx, c, job), refresh.VerdictAck, refresh.ClassFresh)
}

func (x *chaos) wantTold(t *testing.T, c events.Credential, newest uint64) {
	t.Helper()
	told := make(map[uint64]int)
	for _, e := range x.told(c) {
		if e.Type == events.TokenUpdated {
			told[e.Data.Version]++
		}
		if e.Data.Version > newest {
			t.Errorf("%s names version %d", e.ID, e.Data.Version)
		}
	}
	for v := uint64(2); v <= newest; v++ {
		if told[v] == 0 { // a second time is harmless
			t.Errorf("version %d of %d was never told", v, newest)
		}
	}
}
