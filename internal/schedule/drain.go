package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/provider"
)

const (
	// publishers is how many jobs of a lane are on their way to the queue at once: a usual second of a million hourly credentials in
	// two or three goes, so that a busy server keeps none of them waiting for a second and more.
	publishers = 128
	// firstLook and maxLook bound the wait before a job is looked at again whose record has not changed; it doubles
	// in between.
	firstLook = 5 * time.Second
	maxLook   = time.Minute
	// lateInSlot: within this much of a rate slot's end, a job waits for the next slot and goes at its very start, so
	// that no second sees more than the rate allows.
	lateInSlot = time.Second
)

// lookAgain is how long to wait for a job that was asked for tries times before.
func lookAgain(tries int) time.Duration {
	return min(firstLook<<min(tries, 4), maxLook)
}

// job is a due job on its way to the queue.
type job struct {
	ref   Ref
	key   string
	entry Entry
	tries int
	probe string // the id that lets it in alone, after a pause; "" at other times
}

// kick starts the draining of a lane when there is a reason to. s.mu is held.
func (s *Scheduler) kick(ctx context.Context, l *lane) {
	if len(l.queue) == 0 || l.draining || !s.live || ctx.Err() != nil {
		return
	}
	if !l.known {
		s.note("provider "+l.name, fmt.Errorf("%w: %s: its credentials are due: run %q", broker.ErrUnknownProvider, l.name, "freshet apply"))
	}
	if !l.open(s.cfg.Now()) || l.room <= 0 && l.lookedAt == s.ticks {
		return
	}
	l.draining = true
	s.work.Go(func() { s.drain(ctx, l) })
}

// errIdle says that nothing can be published now, and that nobody drains the lane any more.
var errIdle = errors.New("nothing to publish")

// drain publishes a lane's jobs until there are none, the lane is full or closed, or something goes wrong. The next
// tick, or a job that has come to its end, starts it again.
func (s *Scheduler) drain(ctx context.Context, l *lane) {
	what := "lane " + l.name
	for {
		err := s.drainOnce(ctx, l)
		switch {
		case errors.Is(err, errIdle):
			return
		case err != nil:
			s.fail(ctx, what, fmt.Errorf("publish jobs of %s: %w", l.name, err))
			s.stopDraining(l)
			return
		}
		s.well(what)
	}
}

func (s *Scheduler) stopDraining(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.draining, l.room = false, 0
}

// drainOnce publishes one round: a batch, or one job where the provider has a rate.
func (s *Scheduler) drainOnce(ctx context.Context, l *lane) error {
	s.mu.Lock()
	rate := l.rate
	s.mu.Unlock()
	if rate.IsZero() {
		return s.publishBatch(ctx, l)
	}
	return s.publishInSlot(ctx, l, rate)
}

// publishBatch publishes the most urgent jobs side by side.
func (s *Scheduler) publishBatch(ctx context.Context, l *lane) error {
	batch, err := s.take(ctx, l, publishers)
	if err != nil {
		return err
	}
	errs := make([]error, len(batch))
	var wg sync.WaitGroup
	for i, j := range batch {
		wg.Go(func() {
			if _, err := s.publish(ctx, l, j, j.probe); err != nil {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// publishInSlot waits for the next rate slot and publishes the most urgent job in it. Jobs that turn out to be there
// already leave the slot free.
func (s *Scheduler) publishInSlot(ctx context.Context, l *lane, rate provider.Rate) error {
	slot, ends, err := s.awaitSlot(ctx, l, rate)
	if err != nil {
		return err
	}
	for again := true; again && s.cfg.Now().Before(ends); {
		one, err := s.take(ctx, l, 1)
		if err != nil {
			return err
		}
		if again, err = s.publish(ctx, l, one[0], slot); err != nil {
			return err
		}
	}
	return nil
}

// awaitSlot waits for a rate slot that this lane has not tried yet. Late in a slot it waits for the next.
func (s *Scheduler) awaitSlot(ctx context.Context, l *lane, rate provider.Rate) (slot string, ends time.Time, err error) {
	now := s.cfg.Now()
	slot, ends = rate.Slot(l.name, now)
	if slot == l.slot || ends.Sub(now) < lateInSlot {
		for begins := ends; now.Before(begins); now = s.cfg.Now() {
			if !sleep.For(ctx, begins.Sub(now)) {
				return "", time.Time{}, ctx.Err()
			}
		}
		slot, ends = rate.Slot(l.name, now)
	}
	l.slot = slot
	return slot, ends, nil
}

// take takes up to n of the most urgent jobs, having asked once in a tick how many the lane takes. Each comes again after
// a while unless its record changes.
func (s *Scheduler) take(ctx context.Context, l *lane, n int) ([]job, error) {
	if err := s.look(ctx, l); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var jobs []job
	now := s.cfg.Now()
	for s.live && l.open(now) && len(jobs) < n && len(l.queue) > 0 && l.room > 0 {
		j := job{ref: l.queue.pop().ref, probe: l.probe()}
		if s.index.Take(j.ref, l.name, func(tries int) time.Time { j.tries = tries; return now.Add(lookAgain(tries)) }) {
			j.key, j.entry = s.index.View(j.ref)
			jobs = append(jobs, j)
			l.room--
		}
	}
	if len(l.queue) == 0 {
		delete(s.busy, l)
	}
	if len(jobs) == 0 {
		l.draining = false
		return nil, errIdle
	}
	return jobs, nil
}

// look asks how many jobs the lane takes, unless it was asked in this tick.
func (s *Scheduler) look(ctx context.Context, l *lane) error {
	s.mu.Lock()
	tick, done := s.ticks, l.lookedAt == s.ticks
	l.lookedAt = tick
	s.mu.Unlock()
	if done {
		return nil
	}
	info, err := s.cfg.Queue.LaneInfo(ctx, l.name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.room = l.ramped(room(info, l.rate, s.cfg.Now()), info)
	return nil
}

// publish puts a job on the queue. again is true when the slot was not used: a job was there already.
func (s *Scheduler) publish(ctx context.Context, l *lane, j job, slot string) (again bool, err error) {
	err = s.cfg.Queue.PublishJob(ctx, j.key, j.entry.Job(), slot)
	now := s.cfg.Now()
	s.settle(l, j, now, err)
	switch {
	case err == nil:
		s.watch.Published(j.key, j.entry.Reason)
		if j.tries == 0 {
			s.watch.Lag(now.Sub(j.entry.Due))
		}
		return false, nil
	case errors.Is(err, broker.ErrQueued):
		s.watch.Queued(j.key)
		return true, nil
	case errors.Is(err, broker.ErrSlotTaken):
		return false, nil
	}
	return false, err
}

// settle notes what became of a job: published, it is looked at again when its delivery would be repeated; without
// a slot, it waits for the next; else take has seen to it, and it left the lane's room as it was.
func (s *Scheduler) settle(l *lane, j job, now time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.index.Defer(j.ref, now.Add(max(lookAgain(j.tries), l.ackWait)))
	} else {
		l.room++
	}
	taken := errors.Is(err, broker.ErrSlotTaken)
	if taken && s.index.Return(j.ref) {
		l.queue.push(queued{deadline: s.index.Deadline(j.ref), ref: j.ref})
		s.busy[l] = struct{}{}
	}
	if j.probe != "" && (err == nil || taken || errors.Is(err, broker.ErrQueued)) {
		l.probed()
	}
}
