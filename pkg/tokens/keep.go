package tokens

import (
	"fmt"
	"time"
)

const (
	// firstPause and maxPause bound the wait between two looks; it doubles in between.
	firstPause = 10 * time.Millisecond
	maxPause   = time.Second
	// tryFor is how long a source tries to see what it was told of, before it leaves that to its timer.
	tryFor = 30 * time.Second
	// minWatch is the shortest wait before a look without news.
	minWatch = time.Second
)

// heard is called with each event about the credential.
func (s *source) heard(revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision != 0 && revision <= s.revision {
		return // no news
	}
	s.told = max(s.told, revision)
	s.lookNow()
}

// lookAtAll makes every source look again: events may have been missed.
func (c *Client) lookAtAll() {
	for _, s := range c.sources() {
		s.again()
	}
}

// again looks without news.
func (s *source) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.began.IsZero() && !s.reading {
		return // nobody has asked yet
	}
	s.lookNow()
}

// lookNow is look without the pause that whoever is looking may be in. The caller holds mu.
func (s *source) lookNow() {
	s.look(time.Now().Add(tryFor))
	select {
	case s.poked <- struct{}{}:
	default: // poked already
	}
}

// look makes sure that somebody looks, until then at most. The caller holds mu.
func (s *source) look(until time.Time) {
	s.until = later(s.until, until)
	if !s.reading && !s.dropped {
		s.reading = s.client.spawn(s.read)
	}
}

// read looks at the record until the answer satisfies, or time is up.
func (s *source) read() {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		done, failure := s.take(s.client.look(s.client.ctx, s.cred))
		if failure != nil {
			s.client.cfg.OnError(failure)
		}
		if done {
			return
		}
		select {
		case <-s.client.ctx.Done():
			return
		case <-s.poked:
			pause = firstPause
		case <-time.After(pause):
		}
	}
}

// satisfied reports whether there is no reason to look again at once. The caller holds mu.
func (s *source) satisfied(now time.Time) bool {
	switch {
	case s.final():
		return true
	case !s.current():
		return false
	}
	return s.newest.token.usable(now) || !now.Before(s.wanted)
}

// unsatisfied says what the looking did not find, unless all of it was for somebody who waits and is told anyhow. The
// caller holds mu.
func (s *source) unsatisfied() error {
	switch {
	case s.until.Equal(s.wanted):
		return nil
	case s.last.unanswered():
		return fmt.Errorf("keep fresh: %w", s.last.err)
	default:
		return fmt.Errorf("keep fresh: %s: %w: revision %d was announced and is not to be seen", s.cred, ErrUnavailable, s.told)
	}
}

// schedule sets the next look without news. The caller holds mu.
func (s *source) schedule(now time.Time) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if at := nextLook(s.newest, now); !at.IsZero() {
		s.timer = time.AfterFunc(at.Sub(now), s.again)
	}
}

// nextLook says when to look at a record again although nothing was heard: half-way between the moment its token
// should have been replaced and its end, then half-way again, so that a few looks fit however late it is. Zero: not
// at all, as there is no token, or it has no end, or it has ended and the next one who asks for it looks.
func nextLook(r reading, now time.Time) time.Time {
	end := r.token.ExpiresAt
	if end.IsZero() || !now.Before(end) {
		return time.Time{}
	}
	from := now
	if now.Before(r.refreshAt) {
		from = r.refreshAt
	}
	return later(from.Add(end.Sub(from)/2), now.Add(minWatch))
}
