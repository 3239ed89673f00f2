package dashboard

import (
	"context"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
)

const (
	// keptFor is how long what the stream said about a credential is shown without asking again; what is told meanwhile comes
	// by the one subscription.
	keptFor = time.Minute
	// mostKept bounds the credentials of which it is remembered.
	mostKept = 64
)

// kept remembers the events of the credentials that somebody looks at. mu guards the map.
type kept struct {
	mu sync.Mutex
	by map[events.Credential]keptEvents
}

type keptEvents struct {
	read   time.Time
	events []events.Event
}

func (k *kept) of(ctx context.Context, d *Dashboard, c events.Credential) ([]events.Event, error) {
	k.mu.Lock()
	known, ok := k.by[c]
	k.mu.Unlock()
	if ok && time.Since(known.read) < keptFor {
		return known.events, nil
	}
	found, err := d.readEvents(ctx, c)
	if err != nil {
		return found, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.by) >= mostKept || k.by == nil {
		k.by = make(map[events.Credential]keptEvents)
	}
	k.by[c] = keptEvents{time.Now(), found}
	return found, nil
}
