package audit

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	// readsEvery is how often further reads are written.
	readsEvery = time.Minute
	// maxTallies bounds how many different reads are counted at the same time: 10,000 of them take some 5 MB.
	maxTallies = 10_000
	// forgetAfter is how long a read is remembered after its last one; the next one is a first one again.
	forgetAfter = time.Hour
	// lastWithin bounds the writing at the end.
	lastWithin = 3 * time.Second
)

// Given is one access token that was handed out.
type Given struct {
	Credential events.Credential
	Token      seal.Secret
	Via        string // http, file, environment
	Caller     Caller
}

// Reads counts the tokens that an agent hands out. The first read of a token by a caller is written at once, those that follow once a
// minute together. Nobody waits for either. While NATS is away they are kept, within bounds, and those that do not fit are counted.
type Reads struct {
	log  *Log
	keys *seal.Keyset
	wake chan struct{} // there is a first read

	failed *Entry // that may or may not be stored; it keeps its id. Run's own

	mu      sync.Mutex // guards all below
	tallies map[tallyKey]*tally
	dropped int // reads that no entry has told of
}

// tallyKey is whose reads of what are one entry. Processes come and go, so their ids are no part of it.
type tallyKey struct {
	credential             events.Credential
	ref, via, name, called string
	uid, gid               int64 // -1: not known
}

// tally is what has not been written yet, and when there was a read last.
type tally struct {
	caller      Caller
	count       int
	first, last time.Time
	fresh       bool // nothing was written yet
}

// NewReads returns a Reads that writes to a log. The access keyset is for the references of tokens.
func NewReads(log *Log, access *seal.Keyset) *Reads {
	return &Reads{log: log, keys: access, wake: make(chan struct{}, 1), tallies: make(map[tallyKey]*tally)}
}

// Add counts a token that is handed out now. It never waits for anything but other Adds. On a nil *Reads it does nothing.
func (r *Reads) Add(g Given) {
	if r == nil {
		return
	}
	now, key := time.Now(), keyOf(g, r.keys.Reference(g.Token))
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tallies[key]
	if t == nil && len(r.tallies) >= maxTallies {
		r.forget(now, 0)
	}
	if t == nil && len(r.tallies) >= maxTallies {
		r.dropped++
		return
	}
	if t == nil {
		t = &tally{fresh: true}
		r.tallies[key] = t
	}
	if t.count == 0 {
		t.first = now
	}
	t.count, t.last, t.caller = t.count+1, now, g.Caller
	if t.fresh {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func keyOf(g Given, ref string) tallyKey {
	number := func(n *uint32) int64 {
		if n == nil {
			return -1
		}
		return int64(*n)
	}
	c := g.Caller
	return tallyKey{g.Credential, ref, g.Via, c.Name, c.Program, number(c.UID), number(c.GID)}
}

// forget drops the tallies that are written and have had no read for a while. The caller holds mu.
func (r *Reads) forget(now time.Time, idle time.Duration) {
	maps.DeleteFunc(r.tallies, func(_ tallyKey, t *tally) bool { return t.count == 0 && now.Sub(t.last) >= idle })
}

// Run writes what is counted until ctx ends, and then what is left. It returns nil.
func (r *Reads) Run(ctx context.Context) error {
	tick := time.NewTicker(readsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWithin)
			defer cancel()
			r.write(last, false)
			if waiting, dropped := r.left(); waiting+dropped > 0 && !r.log.told.Load() {
				r.log.cfg.Warn(fmt.Errorf("%d tokens were handed out that no audit entry tells of", waiting+dropped))
			}
			return nil
		case <-r.wake:
			if r.failed == nil { // else nobody would answer now either
				r.write(ctx, true)
			}
		case now := <-tick.C:
			r.write(ctx, false)
			r.mu.Lock()
			r.forget(now, forgetAfter)
			r.mu.Unlock()
		}
	}
}

// write writes what is counted, or first reads only. What it cannot write is kept for the next time.
func (r *Reads) write(ctx context.Context, fresh bool) {
	if r.failed != nil && !r.send(ctx, *r.failed) {
		return
	}
	for _, key := range r.due(fresh) {
		if !r.send(ctx, r.take(key)) {
			return // the next one would fare no better
		}
	}
}

// send writes an entry, and reports whether there is no more to do about it. It is not cut off by the end of ctx: whether it was
// stored would be unknown.
func (r *Reads) send(ctx context.Context, e Entry) bool {
	r.failed = &e
	if ctx.Err() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	_, err := r.log.write(ctx, e)
	if err == nil || r.log.noStream(err) {
		r.failed = nil
	}
	switch {
	case err == nil:
	case r.failed == nil:
		r.log.warn(err)
	default:
		waiting, dropped := r.left()
		r.log.warn(fmt.Errorf("%w; %d reads wait for their entries, %d are dropped", err, waiting, dropped))
	}
	return r.failed == nil
}

// left returns how many reads are not written, and how many of others cannot be any more.
func (r *Reads) left() (waiting, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.tallies {
		waiting += t.count
	}
	dropped = r.dropped
	if r.failed != nil {
		waiting, dropped = waiting+r.failed.Data.Count, dropped+r.failed.Data.Dropped
	}
	return waiting, dropped
}

// due lists what is to be written, in the order of the first reads.
func (r *Reads) due(fresh bool) []tallyKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := make(map[tallyKey]time.Time)
	for key, t := range r.tallies {
		if t.count > 0 && (t.fresh || !fresh) {
			at[key] = t.first
		}
	}
	return slices.SortedFunc(maps.Keys(at), func(a, b tallyKey) int { return at[a].Compare(at[b]) })
}

// take returns the entry of what is counted under a key, and counts anew.
func (r *Reads) take(key tallyKey) Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tallies[key] // one that has a count is not forgotten
	e := About(TokenRead, key.credential)
	e.ID, e.Time = rand.Text(), t.last
	e.Data.Via, e.Data.AccessTokenRef, e.Data.Dropped = key.via, key.ref, r.dropped
	e.Data.Count, e.Data.First, e.Data.Last = t.count, t.first.UTC(), t.last.UTC()
	if by := t.caller; by != (Caller{}) {
		e.Data.Caller = &by
	}
	t.count, t.fresh, r.dropped = 0, false, 0
	return e
}
