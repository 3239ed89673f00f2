package schedule

import (
	"context"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
)

// fail reports an error unless what it is about was reported already and has not been well since.
func (s *Scheduler) fail(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	s.note(what, err)
	s.mu.Unlock()
	s.report()
}

// note is fail with s.mu held; the next tick reports.
func (s *Scheduler) note(what string, err error) {
	if !s.troubles[what] {
		s.troubles[what] = true
		s.reports = append(s.reports, err)
	}
}

// well takes back what fail noted.
func (s *Scheduler) well(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.troubles, what)
}

// report hands out what was noted.
func (s *Scheduler) report() {
	s.mu.Lock()
	reports := s.reports
	s.reports = nil
	s.mu.Unlock()
	for _, err := range reports {
		s.watch.Error(err)
	}
}

// retry calls try until it succeeds or ctx ends, less and less often, and reports the beginning of a trouble. What
// lasts calls well when it works, which is the end of the trouble.
func (s *Scheduler) retry(ctx context.Context, what string, try func(well func()) error) {
	const first, most = time.Second, 15 * time.Second
	wait := first
	well := func() {
		wait = first
		s.well(what)
	}
	for ; ctx.Err() == nil; wait = min(2*wait, most) {
		err := try(well)
		if err == nil {
			s.well(what)
			return
		}
		s.fail(ctx, what, err)
		sleep.For(ctx, wait) // the loop asks ctx
	}
}
