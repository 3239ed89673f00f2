package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// errNoAnswer is what a caller hears when nobody answers: what it asked for is done, or it is not.
var errNoAnswer = errors.New("no answer")

// mode is what becomes of one call.
type mode string

// The modes.
const (
	well      mode = ""
	lost      mode = "fails before it takes effect"
	deaf      mode = "fails after it took effect"
	dieBefore mode = "its caller dies before"
	dieAfter  mode = "its caller dies after"
)

// The calls that can go wrong.
var calls = []string{"get", "put", "tell", "append", "committed"}

// disk is what a host keeps over the lives of its worker: the journal.
type disk struct {
	mu      sync.Mutex
	entries []refresh.Entry // by age; those with a revision are committed
	aside   []string
	more    chan struct{} // readable after an append
}

func newDisk() *disk { return &disk{more: make(chan struct{}, 1)} }

// all returns what the journal holds, and how many of it wait for their commit.
func (d *disk) all() (entries []refresh.Entry, pending int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.entries {
		if e.Revision == 0 {
			pending++
		}
	}
	return slices.Clone(d.entries), pending
}

func (d *disk) edit(id string, change func(i int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.entries, func(e refresh.Entry) bool { return e.ID == id }); i >= 0 {
		change(i)
	}
}

func (d *disk) drop(id string) {
	d.edit(id, func(i int) { d.entries = slices.Delete(d.entries, i, i+1) })
}

// worker is one life of a worker: an engine, and everything that can happen to it on its way. It implements what the
// engine needs of the world.
type worker struct {
	world    *world
	name     string
	disk     *disk
	engine   *refresh.Engine
	exchange *refresh.HTTPExchange
	gone     chan struct{} // closed when the process has died

	mu     sync.Mutex
	dead   bool
	count  uint64
	kill   map[refresh.Step]int           // at which time from now it dies there
	freeze map[refresh.Step]time.Duration // for how long it stands still there, once
	faults map[string][]mode              // of its next calls
	open   map[string]string              // presented, and no answer in the journal or the record: attempt to grant
	back   time.Duration                  // after a death it comes back so much later
	wiped  bool                           // and without its disk
}

func (w *world) start(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.disks[name] == nil {
		w.disks[name] = newDisk()
	}
	k := &worker{
		world: w, name: name, disk: w.disks[name], gone: make(chan struct{}), kill: make(map[refresh.Step]int),
		freeze: make(map[refresh.Step]time.Duration), faults: make(map[string][]mode), open: make(map[string]string), back: time.Minute,
	}
	k.exchange = refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{Dial: w.pipe.Dial})
	k.engine = refresh.NewEngine(refresh.Config{
		Worker: name, Store: k, Exchange: k, Journal: (*journal)(k), Teller: k, Keys: w.keys(), Now: time.Now, Step: k.step,
		Provider: func(string) (*provider.Definition, bool) { return &w.definition, true }, Revoke: k.revoke,
	})
	w.workers[name] = k
	w.wg.Go(k.recover)
}

// recover sees to the journal, as a worker does from its start on.
func (k *worker) recover() {
	for recent := true; ; recent = false {
		entries, pending := k.disk.all()
		for _, e := range entries {
			if recent || e.Revision == 0 {
				k.engine.Recover(k.world.ctx, e)
			}
		}
		var again <-chan time.Time
		if pending > 0 {
			again = time.After(5 * time.Second)
		}
		select {
		case <-again:
		case <-k.disk.more:
		case <-k.gone:
			return
		case <-k.world.ctx.Done():
			return
		}
	}
}

// do carries out a job; survived is false when the process died at it.
func (k *worker) do(c events.Credential, job refresh.Job) (res refresh.Result, survived bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		res = k.engine.Do(k.world.ctx, c, job)
		survived = true
	}()
	<-done
	return res, survived
}

// alive ends the calling goroutine when the process is dead, as a kill does.
func (k *worker) alive() {
	select {
	case <-k.gone:
		runtime.Goexit()
	default:
	}
}

// die ends the process. What it had presented and not yet put down is lost with it, as far as the provider is unforgiving.
func (k *worker) die() {
	w := k.world
	k.mu.Lock()
	was, back, wiped, open := k.dead, k.back, k.wiped, maps.Clone(k.open)
	if !was {
		k.dead = true
		close(k.gone)
	}
	k.mu.Unlock()
	if was {
		return
	}
	w.happened("%s    dies, back after %v", k.name, back)
	for _, grant := range open {
		w.excuse(grant, "a worker died with the answer on its way")
	}
	if wiped {
		w.wipe(k.name)
	}
	w.wg.Go(func() {
		if sleep(w.ctx, back) {
			w.start(k.name)
		}
	})
}

// step is refresh.Config.Step.
func (k *worker) step(s refresh.Step) {
	k.mu.Lock()
	stand := k.freeze[s]
	delete(k.freeze, s)
	dies := false
	if n := k.kill[s]; n > 0 {
		k.kill[s] = n - 1
		dies = n == 1
	}
	k.mu.Unlock()
	if stand > 0 {
		k.world.happened("%s    freezes at %s for %v", k.name, s, stand)
		sleep(k.world.ctx, stand)
	}
	if dies {
		k.die()
	}
	if s != refresh.StepSend { // which is reached on a goroutine of net/http
		k.alive()
	}
}

// call carries out one call to the outside, with what goes wrong at it.
func (k *worker) call(kind string, do func() error) error {
	k.alive()
	if !sleep(k.world.ctx, k.latency(kind)) {
		return k.world.ctx.Err()
	}
	k.alive()
	m := k.fault(kind)
	if m != well {
		k.world.happened("%s    %s: %s", k.name, kind, m)
	}
	switch m {
	case lost:
		return errNoAnswer
	case dieBefore:
		k.die()
		runtime.Goexit()
	}
	err := do()
	switch {
	case m == dieAfter:
		k.die()
		runtime.Goexit()
	case m == deaf && err == nil:
		return errNoAnswer
	}
	return err
}

// fault takes what is in store for the next call of a kind.
func (k *worker) fault(kind string) mode {
	if kind != "append" && kind != "committed" && k.world.away() {
		return lost
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.faults[kind]
	if len(next) == 0 {
		return well
	}
	k.faults[kind] = next[1:]
	return next[0]
}

// latency is how long a call takes. It differs from call to call, so that in virtual time no two processes do something
// at the same instant and a seed always gives the same run.
func (k *worker) latency(kind string) time.Duration {
	k.mu.Lock()
	k.count++
	n := k.count
	k.mu.Unlock()
	return jitter(20*time.Millisecond, k.name, kind, n)
}

// jitter maps its arguments to a duration above zero and below span.
func jitter(span time.Duration, args ...any) time.Duration {
	h := fnv.New64a()
	fmt.Fprint(h, args...)
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	return time.Duration(1 + (x^x>>27)%uint64(span-1))
}

// sleep waits, and reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Get implements refresh.Store.
func (k *worker) Get(ctx context.Context, c events.Credential) (s refresh.Stored, err error) {
	err = k.call("get", func() (err error) { s, err = k.world.store.Get(ctx, c); return err })
	return s, err
}

// Put implements refresh.Store.
func (k *worker) Put(ctx context.Context, w refresh.Write) (rev uint64, err error) {
	if f := w.Record.Failure; w.Record.Last != nil && (f == nil || f.Code != "claim_died") { // that is somebody else's word
		k.answered(w.Record.Last.Attempt)
	}
	err = k.call("put", func() (err error) { rev, err = k.world.store.Put(ctx, w); return err })
	if err != nil {
		return 0, err
	}
	return rev, nil
}

// Publish implements refresh.Teller.
func (k *worker) Publish(_ context.Context, e events.Event) error {
	return k.call("tell", func() error { k.world.heard(e); return nil })
}

// Exchange implements refresh.Exchanger.
func (k *worker) Exchange(ctx context.Context, r refresh.Request) refresh.Outcome {
	if k.world.elsewhere(r.Ticket) {
		k.world.excuse(r.Ticket.GrantID, "the answer was with a host that was down or stood still when the last try was due")
	}
	k.mu.Lock()
	k.open[r.Ticket.Attempt] = r.Ticket.GrantID
	k.mu.Unlock()
	out := k.exchange.Exchange(ctx, r)
	k.alive()
	k.world.happened("%s    %s: %s %d %s", k.name, r.Ticket.Attempt, out.Phase, out.Status, out.Err)
	return out
}

// answered notes that an attempt's answer can be lost no more by the death of the process.
func (k *worker) answered(attempt string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.open, attempt)
}

// revoke is refresh.Config.Revoke (RFC 7009).
func (k *worker) revoke(_ context.Context, d *provider.Definition, secret, token seal.Secret) error {
	return k.call("revoke", func() error { return k.world.revokeToken(d, secret, token) })
}

// journal is a worker's disk, as the engine has it.
type journal worker

// Append implements refresh.Journal.
func (j *journal) Append(e refresh.Entry) error {
	k := (*worker)(j)
	return k.call("append", func() error {
		k.answered(e.ID)
		k.disk.mu.Lock()
		defer k.disk.mu.Unlock()
		k.disk.entries = append(k.disk.entries, e)
		select {
		case k.disk.more <- struct{}{}:
		default:
		}
		return nil
	})
}

// Committed implements refresh.Journal.
func (j *journal) Committed(id string, revision uint64) error {
	k := (*worker)(j)
	return k.call("committed", func() error {
		k.disk.edit(id, func(i int) { k.disk.entries[i].Revision = revision })
		return nil
	})
}

// Drop implements refresh.Journal.
func (j *journal) Drop(id string) error {
	k := (*worker)(j)
	return k.call("drop", func() error { k.disk.drop(id); return nil })
}

// SetAside implements refresh.Journal.
func (j *journal) SetAside(id, _ string) error {
	k := (*worker)(j)
	return k.call("aside", func() error {
		k.disk.drop(id)
		k.disk.mu.Lock()
		defer k.disk.mu.Unlock()
		k.disk.aside = append(k.disk.aside, id)
		return nil
	})
}
