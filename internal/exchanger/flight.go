package exchanger

import (
	"context"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// take returns the attempt that a request is for, and starts it if it is new.
func (s *Server) take(c *call) (*attempt, *refusal) {
	return s.table.enter(c,
		func() *refusal { return s.admit(c) },
		func(a *attempt) { s.flights.Go(func() { s.fly(a, c) }) })
}

// admit says why an attempt that is not known cannot begin; nil: it can. The table's lock is held, so the clock is read
// after the look at the table: an attempt that is not stale now was not forgotten then.
func (s *Server) admit(c *call) *refusal {
	now := s.clock.now()
	switch {
	case c.Store != s.store.id:
		return refuse(refusedForeign, "the request belongs to another state directory, or to one whose journal was damaged since")
	case c.Deadline.plus(keepKnown).passed(now):
		return refuse(refusedStale, "the deadline is long over")
	case c.Deadline.apart(now) > maxApart:
		return refuse(refusedClocks, "the wall clock was set, or worker and exchanger run in different time namespaces")
	case c.Deadline.left(now) > maxAhead || c.Latest.left(now) > maxAhead:
		return refuse(refusedBad, fmt.Sprintf("the deadline is more than %v ahead", maxAhead))
	case c.Latest.left(now) <= 0:
		return refuse(refusedLate, "too little of the claim is left")
	case s.table.stopping:
		return refuse(refusedStopping, "the exchanger is stopping")
	case s.table.flying >= s.cfg.MaxInFlight:
		return refuse(refusedBusy, fmt.Sprintf("%d requests are in flight", s.table.flying))
	}
	if err := s.store.writable(); err != nil {
		return refuse(refusedFull, err.Error())
	}
	return nil
}

// fly carries an attempt out. Nothing but its own deadline ends it.
func (s *Server) fly(a *attempt, c *call) {
	now := s.clock.now()
	if err := s.store.intend(c); err != nil {
		s.table.reject(a, refuse(refusedFull, err.Error()))
		return
	}
	out := s.cfg.Exchange.Exchange(context.Background(), c.request(now, s.fence(c.Latest, now)))
	s.land(a, c.Ticket, out)
}

// fence asks the clocks that are shared, and this process's own.
func (s *Server) fence(latest, now moment) func() time.Duration {
	own := time.Now().Add(latest.left(now))
	return func() time.Duration { return min(latest.left(s.clock.now()), time.Until(own)) }
}

// land journals an outcome, and then hands it over. A journal that fails is no reason to lose it while this process
// lives.
func (s *Server) land(a *attempt, t refresh.Ticket, out refresh.Outcome) {
	entry, err := s.cfg.Keys.SealOutcome(t, out)
	if err != nil {
		s.cfg.OnError(err)
		s.table.land(a, nil)
		return
	}
	if err := s.store.reply(entry); err != nil {
		s.cfg.OnError(fmt.Errorf("an outcome is held in memory only: %w", err))
	}
	s.table.land(a, entry.Data)
}
