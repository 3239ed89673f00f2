package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// watchProviders keeps the lanes in step with the providers' entries, and closes known when all have been read for the
// first time.
func (s *Scheduler) watchProviders(ctx context.Context, known chan<- struct{}) {
	for ctx.Err() == nil {
		s.retry(ctx, "providers", func(well func()) error {
			pass := s.nextPass()
			err := s.cfg.Providers.WatchProviders(ctx,
				func(name string, e provider.Entry, revision uint64, err error) {
					s.seeProvider(ctx, seenProvider{name, e, revision, err, pass})
				},
				func() {
					s.forgetUnseen(pass)
					if known != nil {
						close(known)
						known = nil
					}
					well()
				})
			if err == nil {
				return nil
			}
			return fmt.Errorf("watch providers: %w", err)
		})
	}
}

type seenProvider struct {
	name     string
	entry    provider.Entry
	revision uint64
	err      error
	pass     uint64
}

func (s *Scheduler) nextPass() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passes++
	return s.passes
}

// seeProvider takes in a provider's entry.
func (s *Scheduler) seeProvider(ctx context.Context, seen seenProvider) {
	s.mu.Lock()
	l := s.lane(seen.name)
	l.pass = seen.pass
	var fault error
	if seen.revision != l.revision {
		fault = s.learn(ctx, l, seen)
	}
	s.mu.Unlock()
	if fault != nil {
		s.watch.Error(fmt.Errorf("provider %s at revision %d: %w", seen.name, seen.revision, fault))
	}
}

// learn makes a lane what a new entry says. s.mu is held.
func (s *Scheduler) learn(ctx context.Context, l *lane, seen seenProvider) (fault error) {
	wasRevision, wasPause, wasRefresh := l.revision, l.pause, l.refresh
	l.revision = seen.revision
	if seen.err != nil {
		l.forget()
		if errors.Is(seen.err, broker.ErrUnknownProvider) {
			return nil // deleted; said when a credential of it is due
		}
		return seen.err
	}
	d := seen.entry.WithDefaults()
	if _, fault = s.crons.policy(refresh.Policy{Cron: d.Refresh.Cron}); fault != nil {
		d.Refresh.Cron = ""
	}
	l.known, l.refresh, l.rate, l.ackWait, l.pause = true, d.Refresh, d.Limits.Rate, d.Timing().AckWait, seen.entry.Pause
	delete(s.troubles, "provider "+l.name)
	s.learnPause(ctx, l, wasPause, wasRevision != 0)
	changed := l.refresh.Cron != wasRefresh.Cron || l.refresh.KeepAlive != wasRefresh.KeepAlive
	if changed && s.index.Len() > 0 {
		s.reread(ctx, l)
	}
	s.kick(ctx, l)
	return fault
}

// learnPause notes that a pause began or ended, and tells it: whoever did it may have died since. s.mu is held.
func (s *Scheduler) learnPause(ctx context.Context, l *lane, was *provider.Pause, known bool) {
	began := l.pause != nil && (was == nil || *was != *l.pause)
	ended := l.pause == nil && was != nil
	if ended {
		l.resumed(was)
	}
	if (began || ended) && known {
		p, revision := l.pause, l.revision
		s.work.Go(func() { s.tellPause(ctx, l.name, p, revision) })
	}
}

// forget makes the provider one that nobody has applied. Its jobs wait.
func (l *lane) forget() { l.known, l.refresh, l.pause = false, provider.Refresh{}, nil }

// forgetUnseen forgets the providers that a reading did not see.
func (s *Scheduler) forgetUnseen(pass uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		if l.known && l.pass != pass {
			l.forget()
			l.revision = 0
		}
	}
}

// endPause ends a pause whose end has passed. s.mu is held.
func (s *Scheduler) endPause(ctx context.Context, l *lane, now time.Time) {
	if !l.known || l.pause == nil || l.pause.Active(now) || l.ending {
		return
	}
	l.ending = true
	s.work.Go(func() {
		s.retry(ctx, "pause of "+l.name, func(func()) error {
			_, _, err := s.cfg.Providers.EndExpiredPause(ctx, l.name, s.cfg.Now())
			if errors.Is(err, broker.ErrUnknownProvider) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("end the pause of %s: %w", l.name, err)
			}
			return nil
		})
		s.mu.Lock()
		l.ending = false
		s.mu.Unlock()
	})
}
