package dashboard

import (
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// eventsKept is how many events the pages can show.
	eventsKept = 1000
	// outcomeBars is how many bars a chart of outcomes has.
	outcomeBars = 60
	// outcomeWindow is how far back outcomes are counted, a minute to a bar. What began just now is shown in shorter bars.
	outcomeWindow = outcomeBars * time.Minute
	shortWindow   = outcomeBars * 10 * time.Second
)

// Outcomes counts what attempts came to.
type Outcomes struct {
	Renewed int // new versions
	Passing int // transient, throttled, unknown: tried again by themselves
	Failing int // rejected, misconfigured, local: somebody has to look
}

// history is what was told lately. mu guards all of it.
type history struct {
	mu       sync.Mutex
	last     []events.Event // the newest at next-1
	next     int
	outcomes map[string]*counts // by provider
}

// counts are of one provider, over both windows.
type counts struct{ long, short window }

// window counts for each bar; number i is for a time whose number, in bars since 1970, is i modulo their number.
type window struct {
	at [outcomeBars]int64
	n  [outcomeBars]Outcomes
}

func newHistory() history { return history{outcomes: make(map[string]*counts)} }

func (h *history) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last, h.next = nil, 0
	clear(h.outcomes)
}

func (h *history) add(e events.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.last) < eventsKept {
		h.last = append(h.last, e)
	} else {
		h.last[h.next] = e
	}
	h.next = (h.next + 1) % eventsKept
	if e.Type == events.TokenUpdated || e.Type == events.TokenRefreshFailed {
		h.count(e)
	}
}

func (h *history) count(e events.Event) {
	c := h.outcomes[e.Data.Provider]
	if c == nil {
		c = new(counts)
		h.outcomes[e.Data.Provider] = c
	}
	var one Outcomes
	switch refresh.Class(e.Data.Class) {
	case refresh.ClassRejected, refresh.ClassMisconfigured, refresh.ClassLocal:
		one.Failing = 1
	case refresh.ClassTransient, refresh.ClassThrottled, refresh.ClassUnknown:
		one.Passing = 1
	default:
		one.Renewed = 1
	}
	now := time.Now()
	c.long.add(barOf(e.Time, outcomeWindow), barOf(now, outcomeWindow), one)
	c.short.add(barOf(e.Time, shortWindow), barOf(now, shortWindow), one)
}

// barOf numbers the bars of a window since 1970.
func barOf(t time.Time, long time.Duration) int64 {
	return t.Unix() / int64(long/outcomeBars/time.Second)
}

// add counts in a bar of the window that ends now. An event says of itself when it was, and may say anything.
func (w *window) add(bar, now int64, o Outcomes) {
	if bar <= now-outcomeBars || bar > now+1 {
		return
	}
	i := bar % outcomeBars
	if w.at[i] < bar {
		w.at[i], w.n[i] = bar, Outcomes{}
	}
	if w.at[i] == bar {
		w.n[i].add(o)
	}
}

// addTo adds up what lies at most a window before the bar of now.
func (w *window) addTo(all *[outcomeBars]Outcomes, now int64) {
	for i, at := range w.at {
		if back := now - at; back >= 0 && back < outcomeBars {
			all[outcomeBars-1-back].add(w.n[i])
		}
	}
}

// recent returns the newest events that match, the newest first.
func (h *history) recent(limit int, match func(events.Event) bool) (found []events.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.last {
		e := h.last[(h.next-1-i+2*len(h.last))%len(h.last)]
		if match(e) {
			found = append(found, e)
		}
		if len(found) == limit {
			break
		}
	}
	return found
}

// lately returns the counts of each bar, the present one last, of one provider or, for "", of all; and how far back they go: an
// hour, or less where there is nothing older.
func (h *history) lately(name string, now time.Time) (back time.Duration, bars [outcomeBars]Outcomes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var long, short [outcomeBars]Outcomes
	for of, c := range h.outcomes {
		if name == "" || of == name {
			c.long.addTo(&long, barOf(now, outcomeWindow))
			c.short.addTo(&short, barOf(now, shortWindow))
		}
	}
	if sumUp(long) == sumUp(short) {
		return shortWindow, short
	}
	return outcomeWindow, long
}

func sumUp(bars [outcomeBars]Outcomes) (o Outcomes) {
	for _, b := range bars {
		o.add(b)
	}
	return o
}

func (o *Outcomes) add(n Outcomes) {
	o.Renewed += n.Renewed
	o.Passing += n.Passing
	o.Failing += n.Failing
}

func (o Outcomes) total() int { return o.Renewed + o.Passing + o.Failing }
