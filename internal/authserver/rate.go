package authserver

import (
	"slices"
	"sync"
	"time"
)

// ClientLedger is what one client asked of the token endpoint.
type ClientLedger struct {
	// Requests counts its authenticated token requests.
	Requests int64 `json:"requests"`
	// MaxPerSecond is the most of them that began within any one second,
	// wherever that second starts.
	MaxPerSecond int `json:"max_per_second"`
	// Seconds has the requests of each clock second that had any: the newest
	// 600 or more, oldest first.
	Seconds []SecondCount `json:"seconds"`
}

// SecondCount is the requests of one clock second.
type SecondCount struct {
	// Second is Unix time.
	Second   int64 `json:"second"`
	Requests int   `json:"requests"`
}

// maxSeconds bounds the seconds kept: the older half goes when twice as many
// are there.
const maxSeconds = 600

// window counts requests over time. mu guards all of it.
type window struct {
	mu      sync.Mutex
	total   int64
	times   []int64 // Unix nanoseconds of requests; those from head on are less than a second old
	head    int
	most    int
	seconds []SecondCount
}

// add counts a request that begins now.
func (w *window) add() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addAt(time.Now())
}

func (w *window) addAt(now time.Time) {
	w.total++
	w.times = append(w.times, now.UnixNano())
	for from := now.Add(-time.Second).UnixNano(); w.times[w.head] <= from; {
		w.head++
	}
	w.most = max(w.most, len(w.times)-w.head)
	if w.head > len(w.times)/2 {
		w.times = slices.Delete(w.times, 0, w.head)
		w.head = 0
	}
	if n := len(w.seconds); n > 0 && w.seconds[n-1].Second == now.Unix() {
		w.seconds[n-1].Requests++
		return
	}
	if len(w.seconds) == 2*maxSeconds {
		w.seconds = slices.Delete(w.seconds, 0, maxSeconds)
	}
	w.seconds = append(w.seconds, SecondCount{now.Unix(), 1})
}

func (w *window) ledger() ClientLedger {
	w.mu.Lock()
	defer w.mu.Unlock()
	return ClientLedger{Requests: w.total, MaxPerSecond: w.most, Seconds: slices.Clone(w.seconds)}
}
