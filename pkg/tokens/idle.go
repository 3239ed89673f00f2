package tokens

import "time"

const (
	// sweepEvery is how often a client looks for sources that nobody asks.
	sweepEvery = 10 * time.Minute
	// minIdle and maxIdle bound how long a source is kept after it was last asked: to the end of its token in between.
	minIdle = time.Hour
	maxIdle = 24 * time.Hour
)

// sweep lets go of idle sources until the client is closed. A source costs memory, and a read for every new token: a program
// that serves many accounts, each for a while, would else keep all of them fresh for as long as it runs.
func (c *Client) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			for _, s := range c.sources() {
				s.retire(time.Now())
			}
		}
	}
}

// retire lets go of a source that nobody has asked for long enough. Whoever still holds it may ask it again: see adopt.
func (s *source) retire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	h := s.held.Load()
	if used := h != nil && h.asked.Swap(false); s.asked.Swap(false) || used {
		s.keepUntil = now.Add(minIdle)
		if s.newest.known() {
			s.keepUntil = idleEnd(s.newest.token.ExpiresAt, now)
		}
		return
	}
	if s.reading || s.pins > 0 || s.demand != nil || now.Before(s.wanted) || now.Before(s.keepUntil) {
		return
	}
	s.client.remove(s)
	s.forget()
}

// idleEnd returns how long a source is kept that was asked just before now; end is its token's, zero if it has none.
func idleEnd(end, now time.Time) time.Time {
	first, last := now.Add(minIdle), now.Add(maxIdle)
	if end.IsZero() || end.After(last) {
		return last
	}
	return later(first, end)
}

// forget empties a source, save for what keeps it from going back. The caller holds mu.
func (s *source) forget() {
	s.put(nil)
	s.unconfirmed = false
	s.last = reading{}
	s.newest = reading{token: Token{Generation: s.newest.token.Generation, Version: s.newest.token.Version}}
	s.told = s.revision
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// adopt returns the source that is kept fresh under a source's id: itself, or one that took its place while it was idle.
func (c *Client) adopt(s *source) *source {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.adoptLocked(s)
}

func (c *Client) adoptLocked(s *source) *source {
	kept := c.byID[s.cred.String()]
	if kept == nil {
		kept = s
		c.put(s)
	}
	kept.asked.Store(true)
	return kept
}

// pin is adopt for somebody who stays: the source is kept until it is unpinned as often.
func (c *Client) pin(s *source) *source {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.adoptLocked(s)
	kept.pins++
	return kept
}

func (c *Client) unpin(s *source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.pins--
}
