package dashboard

import (
	"slices"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// eventsKept is how many events the pages can show.
	eventsKept = 1000
	// outcomeWindow is how far back outcomes are counted, a minute at a time.
	outcomeWindow  = time.Hour
	outcomeMinutes = int(outcomeWindow / time.Minute)
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
	outcomes map[string]*minutes // by provider
}

// minutes are counts for each minute of the window; number i is for a minute of Unix time that is i modulo the window.
type minutes struct {
	at [outcomeMinutes]int64
	n  [outcomeMinutes]Outcomes
}

func newHistory() history { return history{outcomes: make(map[string]*minutes)} }

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
	m := h.outcomes[e.Data.Provider]
	if m == nil {
		m = new(minutes)
		h.outcomes[e.Data.Provider] = m
	}
	minute := e.Time.Unix() / 60
	i := minute % int64(outcomeMinutes)
	if m.at[i] < minute {
		m.at[i], m.n[i] = minute, Outcomes{}
	}
	if m.at[i] > minute {
		return // told late, of an hour ago
	}
	switch refresh.Class(e.Data.Class) {
	case refresh.ClassRejected, refresh.ClassMisconfigured, refresh.ClassLocal:
		m.n[i].Failing++
	case refresh.ClassTransient, refresh.ClassThrottled, refresh.ClassUnknown:
		m.n[i].Passing++
	default:
		m.n[i].Renewed++
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

// lastHour returns the counts of each minute, the present one last, of one provider or, for "", of all.
func (h *history) lastHour(name string, now time.Time) []Outcomes {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]Outcomes, outcomeMinutes)
	minute := now.Unix() / 60
	for of, m := range h.outcomes {
		if name != "" && of != name {
			continue
		}
		for i, at := range m.at {
			if back := int(minute - at); back >= 0 && back < outcomeMinutes {
				all[outcomeMinutes-1-back].add(m.n[i])
			}
		}
	}
	return slices.Clip(all)
}

func (o *Outcomes) add(n Outcomes) {
	o.Renewed += n.Renewed
	o.Passing += n.Passing
	o.Failing += n.Failing
}

func (o Outcomes) total() int { return o.Renewed + o.Passing + o.Failing }
