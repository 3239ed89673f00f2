package dashboard

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// restAfterFault is how long after trouble something is tried again.
const restAfterFault = time.Second

// retry runs follow again and again until ctx ends. Its trouble is on the pages until it is over.
func (d *Dashboard) retry(ctx context.Context, what string, follow func(ctx context.Context) error) error {
	for {
		err := follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if d.fault(what, err) {
			d.cfg.Log.Warn().Err(err).Msg("the dashboard cannot follow the " + what + ": see to NATS, and to the permissions of this user")
		}
		if !sleep.For(ctx, restAfterFault) {
			return nil
		}
	}
}

// fault notes what is wrong, nil for nothing, and reports whether that is new.
func (d *Dashboard) fault(what string, err error) (fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, had := d.faults[what]
	if err == nil {
		delete(d.faults, what)
		return false
	}
	d.faults[what] = err
	return !had && !errors.Is(err, broker.ErrWatchLost) // which mends itself
}

// troubles says what cannot be shown as it is now.
func (d *Dashboard) troubles() (all []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.ready {
		all = append(all, "The records are still being read: counts and lists grow.")
	}
	for _, what := range slices.Sorted(maps.Keys(d.faults)) {
		all = append(all, "The "+what+" cannot be followed, and what is here is old: "+d.faults[what].Error())
	}
	return all
}

// followRecords keeps the index in step with the bucket. A watch skips nothing in silence, so only when one has ended all
// records are read again.
func (d *Dashboard) followRecords(ctx context.Context) error {
	d.mu.Lock()
	d.index.Begin()
	d.mu.Unlock()
	return d.cfg.Broker.WatchRecords(ctx, broker.WatchConfig{}, d.seeRecord, func() {
		d.mu.Lock()
		d.index.Sweep()
		d.ready, d.surveyed = true, time.Time{}
		delete(d.faults, "records")
		d.mu.Unlock()
		d.hub.wake()
	})
}

func (d *Dashboard) seeRecord(s broker.Seen) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ready {
		defer d.hub.wake()
	}
	if s.Gone || s.Summary.State == refresh.StateDeleted {
		d.index.Remove(s.Key)
		return
	}
	if _, known := d.index.Get(s.Key); !known {
		if _, err := events.ParseKey(s.Key); err != nil {
			return // no credential's
		}
	}
	d.index.Put(NewRow(s))
}

func (d *Dashboard) followProviders(ctx context.Context) error {
	seen := make(map[string]bool)
	return d.cfg.Broker.WatchProviders(ctx,
		func(name string, e provider.Entry, _ uint64, err error) {
			seen[name] = true
			d.mu.Lock()
			defer d.mu.Unlock()
			d.providers[name] = lane{definition: e.Definition.WithDefaults(), pause: e.Pause, err: err}
			if errors.Is(err, broker.ErrUnknownProvider) {
				delete(d.providers, name)
			}
			d.hub.wake()
		},
		func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			maps.DeleteFunc(d.providers, func(name string, _ lane) bool { return !seen[name] })
			delete(d.faults, "providers")
		})
}

// followEvents is the one subscription behind all pages: what was told within the last hour, and then what is told.
func (d *Dashboard) followEvents(ctx context.Context) error {
	d.past.clear()
	return events.Replay(ctx, d.cfg.Broker.JetStream(), events.SubscribeConfig{
		Names: d.cfg.Broker.Names(), Since: d.cfg.Broker.Now().Add(-outcomeWindow), Follow: true,
		OnReady: func() { d.fault("events", nil) },
		OnError: func(err error) {
			d.cfg.Log.Debug().Err(err).Msg("an event could not be read, or reading was interrupted")
		},
	}, func(_ context.Context, e events.Event) error {
		d.past.add(e)
		d.hub.wake()
		return nil
	})
}
