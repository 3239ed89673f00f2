package dashboard

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/broker"
)

const (
	// lanesGood is how long what a lane said is shown without asking again.
	lanesGood = 2 * time.Second
	// lanesWithin bounds the asking, of all lanes together.
	lanesWithin = 2 * time.Second
	// lanesAtOnce is how many are asked at the same time.
	lanesAtOnce = 8
)

// lanes is what the lanes said last. They are asked only while somebody looks. mu guards all of it, and is held while they are
// asked, so that many who look at once ask once.
type lanes struct {
	mu    sync.Mutex
	asked time.Time
	known map[string]queue
}

// queue is a lane's own word.
type queue struct {
	broker.LaneInfo
	err error
}

// queues asks the lanes of all providers.
func (d *Dashboard) askLanes(ctx context.Context) map[string]queue {
	q := &d.queues
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.asked) < lanesGood {
		return q.known
	}
	names := d.providerNames()
	answers := make([]queue, len(names))
	ctx, cancel := context.WithTimeout(ctx, lanesWithin)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(lanesAtOnce)
	for i, name := range names {
		g.Go(func() error {
			answers[i].LaneInfo, answers[i].err = d.cfg.Broker.LaneInfo(ctx, name)
			return nil
		})
	}
	_ = g.Wait() // each answer has its own error
	known := make(map[string]queue, len(names))
	for i, name := range names {
		known[name] = answers[i]
	}
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) { // the one who looked has not gone
		q.asked, q.known = time.Now(), known
	}
	return known
}

func (d *Dashboard) providerNames() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Sorted(maps.Keys(d.providers))
}
