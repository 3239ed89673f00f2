package solo

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// tally is what we saw of one credential.
type tally struct {
	Renewed int // attempts that brought a new token
	Told    int // token.updated events that a subscriber heard
	Late    int // attempts that brought one too late, where that is judged
}

// totals are what we saw of all of them.
type totals struct {
	jobs, attempts, told, late int
}

// counts is what we saw ourselves: from the scheduler, the workers, and as a subscriber. mu guards everything below it.
type counts struct {
	changed chan struct{} // readable after something was heard
	begun   time.Time     // when the processes started; set before they do

	mu     sync.Mutex
	totals totals
	each   map[events.Credential]tally
	held   bool // a lane was paused
	paused map[events.Credential]bool
}

func newCounts() *counts {
	return &counts{changed: make(chan struct{}, 1), each: make(map[events.Credential]tally), paused: make(map[events.Credential]bool)}
}

// published hears of a job.
func (c *counts) published(string, events.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.jobs++
}

// result hears of an attempt's end.
func (c *counts) result(r refresh.Result) {
	if r.Attempt == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.attempts++
	if r.Class != refresh.ClassOK {
		return
	}
	t := c.each[r.Credential]
	t.Renewed++
	if r.Margin < 0 {
		c.totals.late++
		if c.judged(time.Now().Add(r.Margin)) {
			t.Late++
		}
	}
	c.each[r.Credential] = t
}

// settling is how long after the start of the processes a token may end unrenewed: enrolling many takes longer than the
// first of them live.
const settling = 3 * time.Second

// judged reports whether a token that ended then had to be renewed before.
func (c *counts) judged(end time.Time) bool { return end.After(c.begun.Add(settling)) }

// heard hears of an event.
func (c *counts) heard(e events.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Type == events.ProviderPaused {
		c.held = true
	}
	if e.Type != events.TokenUpdated {
		return
	}
	c.totals.told++
	t := c.each[e.Data.Credential()]
	t.Told++
	c.each[e.Data.Credential()] = t
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// record hears of a record's new headers. Nobody else tells that somebody paused a credential.
func (c *counts) record(s broker.Seen) {
	if !s.Summary.Paused {
		return
	}
	if cred, err := events.ParseKey(s.Key); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paused[cred] = true
	}
}

// timely reports whether a credential's tokens had to be renewed in time: nobody had paused it, or a lane.
func (c *counts) timely(cred events.Credential) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.held && !c.paused[cred]
}

// seen returns a copy of the counts.
func (c *counts) seen() (totals, map[events.Credential]tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.totals, maps.Clone(c.each)
}

// await returns when n events were heard, or ctx ends.
func (c *counts) await(ctx context.Context, n int) {
	for {
		if t, _ := c.seen(); t.told >= n {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
		}
	}
}
