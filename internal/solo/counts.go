package solo

import (
	"context"
	"maps"
	"sync"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// tally is what we saw of one credential.
type tally struct {
	Renewed int // attempts that brought a new token
	Told    int // token.updated events that a subscriber heard
}

// totals are what we saw of all of them.
type totals struct {
	jobs, attempts, told, late int
}

// counts is what we saw ourselves: from the scheduler, the workers, and as a subscriber. mu guards everything below it.
type counts struct {
	changed chan struct{} // readable after something was heard

	mu     sync.Mutex
	totals totals
	each   map[events.Credential]tally
}

func newCounts() *counts {
	return &counts{changed: make(chan struct{}, 1), each: make(map[events.Credential]tally)}
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
	if r.Margin < 0 {
		c.totals.late++
	}
	t := c.each[r.Credential]
	t.Renewed++
	c.each[r.Credential] = t
}

// heard hears of an event.
func (c *counts) heard(e events.Event) {
	if e.Type != events.TokenUpdated {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals.told++
	t := c.each[e.Data.Credential()]
	t.Told++
	c.each[e.Data.Credential()] = t
	select {
	case c.changed <- struct{}{}:
	default:
	}
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
