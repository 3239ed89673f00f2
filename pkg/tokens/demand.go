package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// firstDemand and maxDemand bound the wait between two publications of a demand that has not been answered; it
	// doubles in between. The queue may hold a job that asks for less.
	firstDemand = 500 * time.Millisecond
	maxDemand   = 10 * time.Second
	// demandAgain is how long after a demand's end the next one for the same credential may begin: a resource server that
	// refuses whatever it is given must not spend a refresh on each request.
	demandAgain = 30 * time.Second
)

// wish is what somebody wants of renew.
type wish struct {
	past    Token     // a token newer than this one
	refused bool      // a resource server refused that one
	report  bool      // OnError is to hear why none came
	until   time.Time // when to give up
}

// demand is a source's question for a newer token: one at a time, for however many want it. The source's mu owns the wish, which
// grows with those who join, and trouble; err may be read once over is closed.
type demand struct {
	wish
	trouble error         // why it could not be asked for when that was last tried; nil: it was
	over    chan struct{} // closed at its end
	err     error         // why no newer token came
}

// demanded is what became of a source's last demand.
type demanded struct {
	at   time.Time
	err  error
	past Token // what it was to replace
	open bool  // it ended because nobody waited any more: nothing has been decided
}

// renew returns a token newer than the one in w. Where there is none it asks for one, in company of all in this process who
// want the same, and waits. Errors: ErrNotRenewed, ErrPermission, ErrClosed, what else keeps the credential from being
// read, and ctx's cause.
func (s *source) renew(ctx context.Context, w wish) (*held, error) {
	h, d, err := s.join(w)
	if d == nil {
		return h, err
	}
	over := time.NewTimer(time.Until(w.until))
	defer over.Stop()
	select {
	case <-d.over:
	case <-over.C:
		return nil, s.late(d)
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return nil, s.late(d)
		}
		return nil, s.interrupted(ctx)
	}
	switch h := s.beyond(w.past); {
	case h != nil:
		return h, nil
	case d.err != nil:
		return nil, d.err
	default:
		return nil, s.notRenewed("what came is not newer, or has ended")
	}
}

// late says why a demand has brought nothing so far.
func (s *source) late(d *demand) error {
	s.mu.Lock()
	trouble := d.trouble
	s.mu.Unlock()
	if trouble != nil {
		return fmt.Errorf("%w: %w", s.notRenewed("it could not be asked for"), trouble)
	}
	return s.notRenewed("none came in time")
}

// join returns a token that is there already, or the demand that will bring one.
func (s *source) join(w wish) (*held, *demand, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch h := s.newerThan(w.past); {
	case s.dropped:
		return nil, nil, fmt.Errorf("%s: %w", s.cred, ErrClosed)
	case h != nil:
		return h, nil, nil
	case s.demand != nil:
		d := s.demand
		d.refused, d.report, d.until = d.refused || w.refused, d.report || w.report, later(d.until, w.until)
		return nil, d, nil
	case time.Since(s.answered.at) >= demandAgain, s.stillOpen():
		return s.begin(w)
	case s.answered.err != nil:
		return nil, nil, s.answered.err
	default:
		return nil, nil, s.notRenewed("one was asked for less than " + demandAgain.String() + " ago")
	}
}

// stillOpen reports whether the last demand ended with the patience of those who waited, and what it asked for has not come since:
// whoever has more patience goes on with it. What has come ends it, so that a server that refuses everything costs no more by being
// asked in a hurry. The caller holds mu.
func (s *source) stillOpen() bool {
	return s.answered.open && !s.newest.token.newer(s.answered.past)
}

// begin starts a demand. The caller holds mu.
func (s *source) begin(w wish) (*held, *demand, error) {
	if s.newest.token.newer(w.past) { // and it has ended
		w.past, w.refused = s.newest.token, false
	}
	d := &demand{wish: w, over: make(chan struct{})}
	if !s.client.spawn(func() { s.pursue(d) }) {
		return nil, nil, fmt.Errorf("%s: %w", s.cred, ErrClosed)
	}
	s.demand = d
	return nil, d, nil
}

// newerThan returns a token newer than past that may be handed out; nil: there is none. The caller holds mu.
func (s *source) newerThan(past Token) *held {
	if !s.newest.token.newer(past) {
		return nil
	}
	return s.usable(time.Now())
}

// beyond is newerThan for others.
func (s *source) beyond(past Token) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newerThan(past)
}

func (s *source) notRenewed(why string) error {
	return fmt.Errorf("%s: %w: %s", s.cred, ErrNotRenewed, why)
}

// pursue carries a demand to its end.
func (s *source) pursue(d *demand) {
	open, err := s.ask(d)
	s.mu.Lock()
	s.demand, s.answered = nil, demanded{at: time.Now(), err: err, past: d.past, open: open}
	d.err = err
	report := d.report && err != nil && !errors.Is(err, ErrClosed)
	s.mu.Unlock()
	close(d.over)
	if report {
		s.client.cfg.OnError(fmt.Errorf("ask for a newer token: %w", err))
	}
}

// ask looks whether there is a newer token, asks for one where there is none, and does so again until there is, or something
// speaks against it, or nobody waits any more: then it is open.
func (s *source) ask(d *demand) (open bool, err error) {
	failures := -1 // of the record as it was first seen
	var trouble error
	for pause := firstDemand; ; pause = min(2*pause, maxDemand) {
		r := s.client.look(s.client.ctx, s.cred)
		s.note(r)
		if s.beyond(d.past) != nil {
			return false, nil
		}
		if err := s.hopeless(r, failures); err != nil {
			return false, err
		}
		if trouble = r.err; !r.unanswered() {
			failures = r.failures
			trouble = s.client.queue(s.cred, s.job(d, r))
		}
		if errors.Is(trouble, ErrPermission) {
			return false, trouble
		}
		s.mu.Lock()
		d.trouble = trouble
		s.mu.Unlock()
		switch came, over := s.await(d, pause); {
		case came:
			return false, nil
		case s.client.ctx.Err() != nil:
			return false, fmt.Errorf("%s: %w", s.cred, ErrClosed)
		case over:
			return true, s.late(d)
		}
	}
}

// note takes over a look that was not the reading goroutine's.
func (s *source) note(r reading) {
	s.mu.Lock()
	failure := s.store(r)
	s.broadcast()
	s.schedule(time.Now())
	s.mu.Unlock()
	if failure != nil {
		s.client.cfg.OnError(failure)
	}
}

// hopeless says why no demand brings a newer token, as far as the record shows; nil: one may.
func (s *source) hopeless(r reading, failures int) error {
	switch {
	case r.unanswered():
		return nil
	case settled(r.err):
		return r.err
	case r.reauth:
		return fmt.Errorf("%s: %w", s.cred, ErrReauthRequired)
	case r.paused != "":
		return s.notRenewed("its refreshes are paused by " + r.paused)
	case failures >= 0 && r.failures > failures:
		return s.notRenewed("the attempt failed: " + r.class)
	}
	return nil
}

func (s *source) job(d *demand, r reading) refresh.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return refresh.Job{Reason: events.ReasonDemand, GrantID: r.grantID, NewerThan: d.past.Version, Refused: d.refused}
}

// await waits for a token that ends the demand: for a pause, or until nobody waits any more.
func (s *source) await(d *demand, pause time.Duration) (came, over bool) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		s.mu.Lock()
		h, changed, left := s.newerThan(d.past), s.changed, time.Until(d.until)
		s.mu.Unlock()
		if h != nil || left <= 0 {
			return h != nil, true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false, false
		case <-time.After(left):
		case <-s.client.ctx.Done():
			return false, true
		}
	}
}
