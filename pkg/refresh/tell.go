package refresh

import (
	"time"

	"github.com/freshetdev/freshet/pkg/events"
)

// CurrentEvent is the event that stands for what the record says now. Telling it again gives the same id, so whoever
// finds that nobody may have told it simply does.
func CurrentEvent(s *Stored, source string, now time.Time) events.Event {
	r := &s.Record
	e := events.Event{Type: currentType(r), Source: source, Time: now.UTC(), Data: events.Data{
		Provider: r.Provider, Account: r.Account, GrantID: r.GrantID, Generation: r.Generation, Version: r.Version,
		Revision: s.Revision, State: string(r.State), ExpiresAt: r.ExpiresAt,
	}}
	if r.Last != nil {
		e.Data.Attempt, e.Data.Reason = r.Last.Attempt, r.Last.Reason
	}
	if f := r.Failure; f != nil && !r.State.Withdrawn() {
		e.Data.Class, e.Data.Code, e.Data.NextAttemptAt = string(f.Class), f.Code, r.RefreshAt
	}
	e.ID = events.TokenEventID(e.Type, e.Data)
	return e
}

func currentType(r *Record) events.Type {
	switch {
	case r.State == StateRevoked:
		return events.TokenRevoked
	case r.State == StateDeleted:
		return events.TokenDeleted
	case r.State == StateReauthRequired:
		return events.TokenReauthRequired
	case r.Failure != nil:
		return events.TokenRefreshFailed
	default:
		return events.TokenUpdated
	}
}
