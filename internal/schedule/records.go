package schedule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// announceWithin is how long ago a write may have been made that is told again when it is found: as long as the
	// events stream keeps events by default. Whoever was not there then has read the records since.
	announceWithin = 7 * 24 * time.Hour
	// sweepBatch is how many entries are looked at under one hold of the lock.
	sweepBatch = 16384
)

// watchRecords keeps the index in step with the bucket. When changes may have been missed it reads all records again and
// drops what it does not see.
func (s *Scheduler) watchRecords(ctx context.Context) {
	for ctx.Err() == nil {
		s.retry(ctx, "records", func(well func()) error {
			began := time.Now()
			s.mu.Lock()
			s.index.Begin()
			s.mu.Unlock()
			err := s.cfg.Records.WatchRecords(ctx, broker.WatchConfig{Found: s.expect},
				func(seen broker.Seen) { s.see(ctx, seen, s.follow) },
				func() { s.caughtUp(began); well() })
			s.setLive(false)
			if err == nil {
				return nil
			}
			return fmt.Errorf("watch records: %w", err)
		})
	}
}

// expect makes room for the records that there are.
func (s *Scheduler) expect(found uint64) {
	n := int(min(found, numberMask))
	s.watch.Reading(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.Expect(n)
}

func (s *Scheduler) setLive(live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = live
	s.read = s.read && live
}

// caughtUp ends a reading of all records.
func (s *Scheduler) caughtUp(began time.Time) {
	n := 0
	for from, more := Ref(0), true; more; more = from != 0 {
		s.mu.Lock()
		from = s.index.Sweep(from, sweepBatch)
		n, s.live, s.read = s.index.Len(), true, from == 0
		s.mu.Unlock()
	}
	s.watch.Rebuilt(n, time.Since(began))
}

// see takes in a record. What is wrong with it is reported once.
func (s *Scheduler) see(ctx context.Context, seen broker.Seen, take func(ctx context.Context, seen broker.Seen) error) {
	s.mu.Lock()
	err := take(ctx, seen)
	report := err != nil && s.poison[seen.Key] != seen.Revision
	switch {
	case err != nil:
		s.poison[seen.Key] = seen.Revision
	case len(s.poison) > 0:
		delete(s.poison, seen.Key)
	}
	s.mu.Unlock()
	if report {
		s.watch.Error(fmt.Errorf("record %q at revision %d: %w", seen.Key, seen.Revision, err))
	}
}

// follow takes in what the watch of all records delivers. s.mu is held.
func (s *Scheduler) follow(ctx context.Context, seen broker.Seen) error {
	s.live = true // what is overdue goes out while the rest is being read
	return s.upsert(ctx, seen)
}

// upsert puts a record into the index, with an error without what could not be read. Only a key that is no credential's
// stays out. s.mu is held.
func (s *Scheduler) upsert(ctx context.Context, seen broker.Seen) error {
	if seen.Gone {
		s.index.Remove(seen.Key, seen.Revision)
		return nil
	}
	known := s.index.Has(seen.Key)
	if !known {
		if _, err := events.ParseKey(seen.Key); err != nil {
			return err // nobody could be told, no worker would take its job
		}
	}
	l := s.lane(providerOf(seen.Key))
	e, fault := s.plan(l, seen)
	if known && !s.index.Unchanged(seen.Key, e) {
		s.guardRecord(ctx, l, seen)
	}
	if e.State.Withdrawn() && e.Announce == (refresh.Announcement{}) {
		s.index.Remove(seen.Key, seen.Revision)
		return fault
	}
	ended, err := s.index.Upsert(seen.Key, e)
	if ended && l.ramp == 0 { // after a pause only ticks make room
		l.room++
		s.kick(ctx, l)
	}
	return errors.Join(fault, err)
}

// revise plans a record anew that is in the index, after its provider's policy has changed. s.mu is held.
func (s *Scheduler) revise(ctx context.Context, seen broker.Seen) error {
	if seen.Gone || !s.index.Has(seen.Key) {
		return nil // watchRecords knows better
	}
	return s.upsert(ctx, seen)
}

// plan makes an entry of a record; with an error, it lacks what could not be read. s.mu is held.
func (s *Scheduler) plan(l *lane, seen broker.Seen) (Entry, error) {
	switch {
	case errors.Is(seen.Err, refresh.ErrNoSummary):
		return PlanHeaderless(seen.StoredAt, seen.Revision), nil
	case seen.Err != nil: // whoever gets its job repairs it
		return PlanHeaderless(seen.StoredAt, seen.Revision), seen.Err
	}
	p, err := s.crons.policy(Effective(seen.Summary.Policy, l.refresh))
	e := Plan(seen.Summary, seen.Revision, p)
	if e.Announce != (refresh.Announcement{}) && s.cfg.Now().Sub(seen.StoredAt) > announceWithin {
		e.Announce = refresh.Announcement{}
	}
	return e, err
}

// providerOf is a key's part before the first dot.
func providerOf(key string) string {
	name, _, _ := strings.Cut(key, ".")
	return name
}

// reread plans a provider's records anew. s.mu is held.
func (s *Scheduler) reread(ctx context.Context, l *lane) {
	l.again = true
	if l.reading {
		return
	}
	l.reading = true
	s.work.Go(func() {
		for s.rereadAgain(l) {
			s.retry(ctx, "policy of "+l.name, func(func()) error {
				err := s.cfg.Records.WatchRecords(ctx, broker.WatchConfig{Filter: l.name + ".>", Once: true},
					func(seen broker.Seen) { s.see(ctx, seen, s.revise) }, func() {})
				if err != nil {
					return fmt.Errorf("read the records of %s: %w", l.name, err)
				}
				return nil
			})
		}
	})
}

func (s *Scheduler) rereadAgain(l *lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.reading, l.again = l.again, false
	return l.reading
}
