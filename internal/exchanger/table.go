package exchanger

import (
	"sync"
	"time"
)

// attempt is what is known of one attempt id. The table's lock guards all below done.
type attempt struct {
	id, key string
	forget  moment        // known until then, and until the outcome is acknowledged
	done    chan struct{} // closed when there is an outcome or a refusal

	refused *refusal // never posted, and not known any more
	data    []byte   // the sealed outcome; nil before it is there and after it was acknowledged
	gone    bool     // acknowledged
	waiting int      // requests that want the outcome
	quiet   time.Time
}

// table holds the attempts.
//
// Concurrency: mu guards everything; it is never held during I/O.
type table struct {
	linger time.Duration // how long an outcome that was handed over may stay without its acknowledgement

	mu       sync.Mutex
	attempts map[string]*attempt
	idle     map[string]*attempt // with an outcome that nobody waits for
	flying   int
	held     int
	stopping bool
	news     chan struct{} // closed and replaced when waiters should look again
}

func newTable(linger time.Duration) *table {
	return &table{
		linger: linger, attempts: make(map[string]*attempt), idle: make(map[string]*attempt), news: make(chan struct{}),
	}
}

// enter makes the caller wait for the attempt. One that is not known is admitted or refused, and started, under
// the lock: nobody can come in between.
func (t *table) enter(c *call, admit func() *refusal, start func(*attempt)) (*attempt, *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := c.Ticket.Attempt
	a := t.attempts[id]
	if a == nil {
		if r := admit(); r != nil {
			return nil, r
		}
		a = &attempt{id: id, key: c.Ticket.Key, forget: c.Deadline.plus(keepKnown), done: make(chan struct{})}
		t.attempts[id] = a
		t.flying++
		start(a)
	}
	a.waiting++
	delete(t.idle, id)
	return a, nil
}

// leave ends the caller's wait. Whoever waited may come back for the outcome, or acknowledge it, before it is offered
// to others.
func (t *table) leave(a *attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.waiting--
	a.quiet = time.Now().Add(t.linger)
	t.rest(a)
}

// rest notes an outcome that nobody waits for. The caller holds mu.
func (t *table) rest(a *attempt) {
	if a.waiting == 0 && a.data != nil {
		t.idle[a.id] = a
	}
}

// keep takes over an attempt of an earlier life; without data its outcome was acknowledged, or is not known any more.
func (t *table) keep(id, key string, data []byte, forget moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &attempt{
		id: id, key: key, forget: forget, done: make(chan struct{}),
		data: data, gone: data == nil, quiet: time.Now().Add(t.linger),
	}
	close(a.done)
	t.attempts[id] = a
	if data != nil {
		t.held++
	}
	t.rest(a)
}

// land ends an attempt with its outcome; nil means that there is none to hand over.
func (t *table) land(a *attempt, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.data, a.gone = data, data == nil
	if data != nil {
		t.held++
	}
	t.flying--
	close(a.done)
	t.rest(a)
	if a.waiting == 0 {
		t.tell()
	}
}

// reject ends an attempt that never began. Its id is as good as new.
func (t *table) reject(a *attempt, r *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.refused = r
	delete(t.attempts, a.id)
	t.flying--
	close(a.done)
}

// result is what an attempt that is done has come to.
func (t *table) result(a *attempt) (held, *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case a.refused != nil:
		return held{}, a.refused
	case a.gone:
		return held{}, refuse(refusedGone, "the outcome of this attempt was acknowledged, another worker has it")
	}
	return held{ID: a.id, Key: a.key, Data: a.data}, nil
}

// find is the outcome of an attempt that somebody asks after. It is not offered to others for a while.
func (t *table) find(id string) (held, *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch a := t.attempts[id]; {
	case a == nil:
		return held{}, refuse(refusedUnknown, "there is no such attempt")
	case a.gone:
		return held{}, refuse(refusedGone, "the outcome of this attempt was acknowledged, another worker has it")
	case a.data == nil:
		return held{}, refuse(refusedBusy, "the attempt is under way")
	default:
		a.quiet = time.Now().Add(offerAgain)
		return held{ID: a.id, Key: a.key, Data: a.data}, nil
	}
}

// offer returns outcomes that nobody waits for, and does not offer them again for a while.
func (t *table) offer() (found []held, news <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, size := time.Now(), 0
	for _, a := range t.idle {
		if now.Before(a.quiet) {
			continue
		}
		if size >= maxHeld {
			break
		}
		found, size = append(found, held{ID: a.id, Key: a.key, Data: a.data}), size+len(a.data)
		a.quiet = now.Add(offerAgain)
	}
	return found, t.news
}

// acknowledge forgets outcomes, and returns the ids of those that there were.
func (t *table) acknowledge(ids []string) (had []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		a := t.attempts[id]
		if a == nil || a.data == nil {
			continue
		}
		a.data, a.gone = nil, true
		delete(t.idle, id)
		t.held--
		had = append(had, id)
	}
	if t.stopping && t.held == 0 {
		t.tell()
	}
	return had
}

// expire forgets the ids that can neither be sent nor asked for any more, and returns them.
func (t *table) expire(now moment) (ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, a := range t.attempts {
		if a.gone && a.forget.passed(now) {
			delete(t.attempts, id)
			ids = append(ids, id)
		}
	}
	return ids
}

// stop lets no further attempt in.
func (t *table) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
	t.tell()
}

// empty reports whether nothing is held, and a channel that says when to ask again.
func (t *table) empty() (bool, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held == 0, t.news
}

func (t *table) counts() (flying, heldNow int, stopping bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flying, t.held, t.stopping
}

// tell wakes everybody who waits for news. The caller holds mu.
func (t *table) tell() {
	close(t.news)
	t.news = make(chan struct{})
}
