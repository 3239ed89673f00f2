package schedule

import (
	"cmp"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// instantSlack is how long before a cron instant a token may be issued and count as issued after it. A worker's
	// idea of NATS time is a little behind ours; without the slack, an instant would be served twice.
	instantSlack = 2 * time.Second
	// expiringShare, minExpiring and maxExpiring say how long before a token's end token.expiring is told:
	// a twentieth of the lifetime, between these bounds.
	expiringShare = 20
	minExpiring   = time.Second
	maxExpiring   = time.Minute
	// reauthAhead is how long before a grant's own end token.reauth_required is told, or half of what was left
	// of the grant when the token was issued, if that is shorter: a grant whose end moves with every refresh
	// is not announced while it is refreshed in time.
	reauthAhead = 7 * 24 * time.Hour
	// maxCrons bounds the cache of parsed cron expressions.
	maxCrons = 1024
)

// Policy is what a provider and a credential together wish beside refresh_at.
type Policy struct {
	Cron      cron.Schedule // nil: none
	KeepAlive time.Duration // 0: none
}

// Effective is a credential's own policy, completed field by field by its provider's. A KeepAlive of provider.Never
// turns the provider's off.
func Effective(own refresh.Policy, of provider.Refresh) refresh.Policy {
	return refresh.Policy{Cron: cmp.Or(own.Cron, of.Cron), KeepAlive: cmp.Or(own.KeepAlive, of.KeepAlive)}
}

// Next says when a job is due for a record and with which reason; zero: never. The earliest of refresh_at, the first
// cron instant after issued_at and the end of the keep-alive wins. After a failure only refresh_at counts, because
// it is the backoff.
func Next(s refresh.Summary, p Policy) (at time.Time, reason events.Reason) {
	if s.Paused || !s.State.Refreshable() {
		return time.Time{}, ""
	}
	at, reason = s.RefreshAt, events.ReasonScheduled
	if s.State == refresh.StateActive && s.FailureClass == "" && !s.IssuedAt.IsZero() {
		if t := cronAfter(s.IssuedAt, p.Cron); earlier(t, at) {
			at, reason = t, events.ReasonCron
		}
		if t := keepAliveAfter(s.IssuedAt, p.KeepAlive); earlier(t, at) {
			at, reason = t, events.ReasonKeepAlive
		}
	}
	if at.IsZero() {
		return time.Time{}, ""
	}
	return at, reason
}

// earlier reports whether t comes before at; zero times never come.
func earlier(t, at time.Time) bool { return !t.IsZero() && (at.IsZero() || t.Before(at)) }

func cronAfter(issued time.Time, c cron.Schedule) time.Time {
	if c == nil {
		return time.Time{}
	}
	return c.Next(issued.UTC().Add(instantSlack))
}

func keepAliveAfter(issued time.Time, d time.Duration) time.Time {
	if d <= 0 || d == provider.Never.Std() {
		return time.Time{}
	}
	return issued.Add(d)
}

// ExpiringAt says when token.expiring is told about a record that still has this token then; zero: never. Paused
// credentials are not spared: their tokens end all the same.
func ExpiringAt(s refresh.Summary) time.Time {
	if s.ExpiresAt.IsZero() || !s.State.Refreshable() {
		return time.Time{}
	}
	ahead := maxExpiring
	if !s.IssuedAt.IsZero() {
		ahead = min(max(s.ExpiresAt.Sub(s.IssuedAt)/expiringShare, minExpiring), maxExpiring)
	}
	return s.ExpiresAt.Add(-ahead)
}

// ReauthAt says when token.reauth_required is told ahead of the grant's own end; zero: never. The event's id names
// the version, so it is told once per version at most; the index tells it once per end of a grant.
func ReauthAt(s refresh.Summary) time.Time {
	if s.GrantExpiresAt.IsZero() || !s.State.Refreshable() {
		return time.Time{}
	}
	ahead := reauthAhead
	if !s.IssuedAt.IsZero() {
		ahead = min(max(s.GrantExpiresAt.Sub(s.IssuedAt)/2, 0), ahead)
	}
	return s.GrantExpiresAt.Add(-ahead)
}

// Plan is the index entry of a record.
func Plan(s refresh.Summary, revision uint64, p Policy) Entry {
	e := Entry{
		GrantID: s.GrantID, Generation: s.Generation, Version: s.Version, Revision: revision, State: s.State,
		ExpiresAt: s.ExpiresAt, ExpiringAt: ExpiringAt(s), GrantExpiresAt: s.GrantExpiresAt, ReauthAt: ReauthAt(s),
		Announce: s.Announce,
	}
	e.Due, e.Reason = Next(s, p)
	return e
}

// PlanHeaderless is the index entry of a record whose headers are missing or cannot be read: due since it was stored.
// Whoever gets the job reads the record and repairs them.
func PlanHeaderless(storedAt time.Time, revision uint64) Entry {
	return Entry{Revision: revision, Due: storedAt, Reason: events.ReasonScheduled}
}

// crons parses cron expressions, each of them once: credentials share them.
type crons map[string]cron.Schedule

// policy parses a policy. With an error, the rest of it is good.
func (c crons) policy(p refresh.Policy) (Policy, error) {
	out := Policy{KeepAlive: p.KeepAlive.Std()}
	if p.Cron == "" {
		return out, nil
	}
	s, ok := c[p.Cron]
	if !ok {
		var err error
		if s, err = provider.ParseCron(p.Cron); err != nil {
			return out, fmt.Errorf("read policy: %w", err)
		}
		if len(c) >= maxCrons {
			clear(c)
		}
		c[p.Cron] = s
	}
	out.Cron = s
	return out, nil
}
