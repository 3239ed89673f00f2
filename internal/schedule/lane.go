package schedule

import (
	"math"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
)

const (
	// laneAhead is how many times its concurrency a lane may hold: what is being done, and as much again waiting.
	laneAhead = 2
	// rateAhead is how many seconds' worth of jobs may wait in a lane with a rate.
	rateAhead = 3
	// assumedConcurrency stands in for a lane that does not bound what is in flight.
	assumedConcurrency = 64
)

// lane is a provider as the scheduler sees it, and its jobs that are due. All of it is guarded by Scheduler.mu, but
// for slot, which belongs to the goroutine that drains the lane.
type lane struct {
	name     string
	known    bool   // somebody has applied it, and its entry can be read
	revision uint64 // of its entry
	pass     uint64 // of the providers' reading that saw it last
	refresh  provider.Refresh
	rate     provider.Rate
	ackWait  time.Duration
	pause    *provider.Pause

	queue    queue
	room     int    // how many jobs it takes, as far as is known
	lookedAt uint64 // tick at which room was asked for
	draining bool
	slot     string // the rate slot used last

	ramp    int       // after a pause: how many jobs the next tick lets in; 0: as many as there is room for
	guard   guard     // counts rejections
	guarded time.Time // until then nothing is published: the lane is being paused for its rejections

	ending  bool // an expired pause is being ended
	reading bool // its records are being planned anew
	again   bool // and must be once more
}

// open reports whether jobs may be published. A pause that is over holds until it has been removed, so that the lane
// starts again little by little.
func (l *lane) open(now time.Time) bool { return l.known && l.pause == nil && !now.Before(l.guarded) }

// room is how many more jobs a lane takes: it may hold a multiple of its concurrency, and with a rate no more may wait than
// a few seconds bring. Calls in flight do not count against the rate: they may take long.
func room(info broker.LaneInfo, rate provider.Rate, now time.Time) int {
	if info.Paused && (info.PausedUntil.IsZero() || now.Before(info.PausedUntil)) {
		return 0
	}
	limit := info.MaxAckPending
	if limit <= 0 {
		limit = assumedConcurrency
	}
	waiting := int(min(info.Pending, math.MaxInt32))
	free := laneAhead*limit - waiting - info.AckPending
	if !rate.IsZero() {
		most := math.Ceil(min(max(float64(rate)*rateAhead, 1), math.MaxInt32))
		free = min(free, int(most)-waiting)
	}
	return max(free, 0)
}

// queue is a binary heap of due jobs, the earliest deadline first. Its items are hints: see Ref.
type queue []queued

type queued struct {
	deadline uint32
	ref      Ref
}

func (q *queue) push(item queued) {
	h := append(*q, item)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if h[parent].deadline <= h[i].deadline {
			break
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
	*q = h
}

// pop takes out the first; the queue must not be empty.
func (q *queue) pop() queued {
	h := *q
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < last && h[child+1].deadline < h[child].deadline {
			child++
		}
		if child >= last || h[i].deadline <= h[child].deadline {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*q = h
	if last == 0 {
		*q = nil // an outage's worth of memory
	}
	return first
}
