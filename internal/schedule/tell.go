package schedule

import (
	"context"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
)

const (
	// tellers is how many events are on their way at once.
	tellers = 8
	// tellQueue is how many more wait; what finds no place stays in the index for a few seconds.
	tellQueue = 4096
	// tellAnnouncements is how many of them a tick lets announcements be: they hold up neither jobs nor the ends that are told. There
	// may be a million after an import, which their writer has told already; at this rate they are through before the events
	// stream has forgotten their ids (ten minutes) and would keep them twice.
	tellAnnouncements = 2048
)

// telling is an event on its way, and whence it came.
type telling struct {
	key   string
	entry Entry
	work  Work // the one thing that this event tells
	event events.Event
}

// tell sends off the events in w, as far as there is room for them. s.mu is held.
func (s *Scheduler) tell(r Ref, w Work, now time.Time) {
	if len(s.tells) == cap(s.tells) {
		return
	}
	key, e := s.index.View(r)
	for _, one := range []Work{WorkAnnounce, WorkExpiring, WorkReauth} {
		if w&one == 0 {
			continue
		}
		event, ok := s.event(key, e, one, now)
		if !ok {
			s.index.Told(r, one)
			continue
		}
		select {
		case s.tells <- telling{key: key, entry: e, work: one, event: event}:
			s.index.Told(r, one)
		default:
		}
	}
}

// tellAnnounced sends off the announcements that have waited longest. While events cannot be told it tries as seldom as with
// others. s.mu is held.
func (s *Scheduler) tellAnnounced(now time.Time) {
	if s.troubles[troubleEvents] && s.ticks%retell != 0 {
		return
	}
	s.index.Announced(func(r Ref) bool {
		if len(s.tells) >= tellAnnouncements {
			return false
		}
		s.tell(r, WorkAnnounce, now)
		return true
	})
}

// event builds the event that stands for one piece of work; its id is the same whoever builds it. ok is false for an
// announcement that is not a token event: of a newer version, whose schedulers know it, or nonsense.
func (s *Scheduler) event(key string, e Entry, w Work, now time.Time) (event events.Event, ok bool) {
	c, err := events.ParseKey(key)
	if err != nil {
		return events.Event{}, false // not in the index
	}
	t, reason := announced(e, w)
	switch t {
	case events.TokenUpdated, events.TokenRefreshFailed, events.TokenExpiring, events.TokenReauthRequired,
		events.TokenRevoked, events.TokenDeleted:
	default:
		return events.Event{}, false
	}
	d := events.Data{
		Provider: c.Provider, Account: c.Account, GrantID: e.GrantID, Generation: e.Generation, Version: e.Version,
		Revision: e.Revision, State: string(e.State), Reason: reason,
	}
	if w == WorkAnnounce {
		d.ExpiresAt = e.ExpiresAt // the announcer's own event has it, to the fraction of a second that the index lacks
	}
	return events.Event{ID: events.TokenEventID(t, d), Source: s.cfg.Source, Type: t, Time: now.UTC(), Data: d}, true
}

func announced(e Entry, w Work) (events.Type, events.Reason) {
	switch w {
	case WorkExpiring:
		return events.TokenExpiring, ""
	case WorkReauth:
		return events.TokenReauthRequired, ""
	default:
		return e.Announce.Type, e.Announce.Reason
	}
}

// troubleEvents is what it is about when events cannot be told.
const troubleEvents = "events"

// tellAll publishes events until ctx ends. What fails goes back to the index, so that no event waits behind another.
func (s *Scheduler) tellAll(ctx context.Context) {
	for {
		var t telling
		select {
		case t = <-s.tells:
		case <-ctx.Done():
			return
		}
		err := s.cfg.Teller.Publish(ctx, t.event)
		if err == nil {
			s.well(troubleEvents)
			continue
		}
		s.fail(ctx, troubleEvents, fmt.Errorf("tell %s of %s: %w", t.event.Type, t.event.Data.Credential(), err))
		s.mu.Lock()
		s.index.Retell(t.key, t.entry, t.work, s.cfg.Now().Add(retell*time.Second))
		s.mu.Unlock()
	}
}
