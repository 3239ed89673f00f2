package schedule

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// The blast-radius guard. People withdraw grants one at a time; a provider that loses its database, or takes our client
// for another, rejects them all. So when many credentials are rejected within minutes, and no fewer than were refreshed,
// the lane pauses before the second word is asked for that would mark them.
const (
	guardWindow = 10 * time.Minute
	guardMin    = 5 // credentials; below that, chance cannot be told from fault
	// guardPause is how long the lane rests before one credential probes whether the provider is well.
	guardPause = 5 * time.Minute
	// guardSettles is how long the pause may take to be written and heard of.
	guardSettles = 10 * time.Second
)

// guard counts what a provider answered within the window, as far as this scheduler was there: what it finds at its start, and
// new credentials, say nothing about how many were asked.
type guard struct {
	rejected  map[string]time.Time // when it was first rejected, by key
	refreshed map[int64]int        // how many, by the minute
	// probing: the lane has just been paused for its rejections, and nothing was refreshed since. One more suffices.
	probing bool
}

// count takes in a record's new state. newer is true when its version has grown.
func (g *guard) count(key string, sum refresh.Summary, storedAt time.Time, newer bool) {
	switch {
	case sum.FailureClass == refresh.ClassRejected && sum.State == refresh.StateRetrying:
		if _, ok := g.rejected[key]; !ok && len(g.rejected) < maxGuarded {
			g.rejected = put(g.rejected, key, storedAt)
		}
	case newer && sum.FailureClass == "":
		delete(g.rejected, key)
		g.refreshed = put(g.refreshed, storedAt.Unix()/60, g.refreshed[storedAt.Unix()/60]+1)
		g.probing = false
	}
}

// maxGuarded bounds the memory of a guard.
const maxGuarded = 1000

func put[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	if m == nil {
		m = make(map[K]V)
	}
	m[k] = v
	return m
}

// tripped forgets what is older than the window and reports whether the rest speaks against the provider.
func (g *guard) tripped(now time.Time) bool {
	begins := now.Add(-guardWindow)
	maps.DeleteFunc(g.rejected, func(_ string, at time.Time) bool { return at.Before(begins) })
	maps.DeleteFunc(g.refreshed, func(minute int64, _ int) bool { return minute < begins.Unix()/60 })
	if g.probing {
		return len(g.rejected) > 0
	}
	well := 0
	for _, n := range g.refreshed {
		well += n
	}
	return len(g.rejected) >= guardMin && len(g.rejected) >= well
}

// guardRecord lets the lane's guard see what became of a record that is in the index, and pauses the lane when there are too many rejections. s.mu is held.
func (s *Scheduler) guardRecord(ctx context.Context, l *lane, seen broker.Seen) {
	now := s.cfg.Now()
	if seen.Err != nil || now.Sub(seen.StoredAt) > guardWindow {
		return
	}
	l.guard.count(seen.Key, seen.Summary, seen.StoredAt, s.index.Newer(seen.Key, seen.Summary.Generation, seen.Summary.Version))
	if seen.Summary.FailureClass != refresh.ClassRejected || !l.open(now) || !l.guard.tripped(now) {
		return
	}
	l.guarded = now.Add(guardSettles)
	fault := fmt.Errorf("provider %s rejects the grants of %d credentials within %v: its lane is paused for %v and nobody is marked: "+
		"see what the provider says about our client", l.name, len(l.guard.rejected), guardWindow, guardPause)
	s.reports = append(s.reports, fault)
	s.work.Go(func() { s.guardPause(ctx, l, now.Add(guardPause)) })
}

func (s *Scheduler) guardPause(ctx context.Context, l *lane, until time.Time) {
	p := provider.Pause{By: s.cfg.Source, Until: until.UTC().Truncate(time.Second), Reason: provider.PauseRejections}
	s.retry(ctx, "guard of "+l.name, func(func()) error {
		if _, err := s.cfg.Providers.PauseLane(ctx, l.name, p); err != nil {
			return fmt.Errorf("pause %s, which rejects too many: %w", l.name, err)
		}
		return nil
	})
}

// resumed lets a lane run again, little by little. s.mu is held.
func (l *lane) resumed(was *provider.Pause) {
	l.ramp = 1
	if was.Reason == provider.PauseRejections {
		l.guard = guard{probing: true}
	}
}

// ramped bounds the room of a lane that has just been resumed: one job first, and no other before that has ended; then
// twice as many with every tick.
func (l *lane) ramped(room int, info broker.LaneInfo) int {
	switch {
	case l.ramp == 0:
		return room
	case l.ramp == 1:
		return min(room, 1) // until probed
	case l.ramp == 2 && info.Pending+uint64(info.AckPending) > 0:
		return 0
	}
	room = min(room, l.ramp)
	if l.ramp *= 2; l.ramp > maxRamp {
		l.ramp = 0
	}
	return room
}

// probed notes that the first job after a pause is in the lane, whoever put it there.
func (l *lane) probed() {
	l.ramp = max(l.ramp, 2)
	l.room = 0
}

// maxRamp is how many jobs a tick may let in before a lane counts as running as before.
const maxRamp = 1 << 12

// probe is the id under which the first job after a pause is published: of all schedulers, one gets it in.
func (l *lane) probe() string {
	if l.ramp != 1 {
		return ""
	}
	return fmt.Sprintf("%s:resumed:%d", l.name, l.revision)
}

// tellPause tells that a lane's pause has begun or ended; the entry's revision makes the event's id. Who ended it is not in
// the entry: whoever did tells the same event, with their name.
func (s *Scheduler) tellPause(ctx context.Context, name string, p *provider.Pause, revision uint64) {
	d := events.Data{Provider: name, Revision: revision}
	t := events.ProviderResumed
	if p != nil {
		t, d.By, d.Reason, d.Until = events.ProviderPaused, p.By, events.Reason(p.Reason), p.Until
	}
	event := events.Event{
		ID: events.ProviderEventID(t, name, revision), Source: s.cfg.Source, Type: t, Time: s.cfg.Now().UTC(), Data: d,
	}
	s.retry(ctx, "event of "+name, func(func()) error {
		if err := s.cfg.Teller.Publish(ctx, event); err != nil {
			return fmt.Errorf("tell %s of %s: %w", t, name, err)
		}
		return nil
	})
}
