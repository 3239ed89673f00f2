package schedule

import (
	"context"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/freshetdev/freshet/internal/sleep"
)

// Scheduler publishes a job for each credential that is due.
type Scheduler struct {
	cfg   Config
	watch Observer
	tells chan telling
	work  sync.WaitGroup

	mu       sync.Mutex // guards the rest, and the lanes
	index    *Index
	crons    crons
	lanes    map[string]*lane
	busy     map[*lane]struct{} // lanes with a queue
	ticks    uint64
	live     bool              // records are being watched
	read     bool              // all of them have been read since that began
	passes   uint64            // readings of the providers begun
	poison   map[string]uint64 // revisions of records that were reported, by key
	troubles map[string]bool   // what is wrong and was noted
	reports  []error           // noted and not reported yet
}

// New returns a scheduler. It fails when something required is missing.
func New(cfg Config) (*Scheduler, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Scheduler{
		cfg: cfg, watch: cfg.Observer.withDefaults(), tells: make(chan telling, tellQueue), crons: make(crons),
		lanes: make(map[string]*lane), busy: make(map[*lane]struct{}), poison: make(map[string]uint64),
		troubles: make(map[string]bool),
	}, nil
}

// Run schedules until ctx ends and then returns nil, having stopped everything it began. What goes wrong on the way, it
// waits for and tries again. Run must be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	s.mu.Lock()
	s.index = NewIndex(s.cfg.Now())
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer s.work.Wait()
	defer cancel()
	for range tellers {
		s.work.Go(func() { s.tellAll(ctx) })
	}
	known := make(chan struct{}) // a record is planned by its provider's policy
	s.work.Go(func() { s.watchProviders(ctx, known) })
	select {
	case <-known:
	case <-ctx.Done():
		return nil
	}
	s.work.Go(func() { s.watchRecords(ctx) })
	s.tickAll(ctx)
	return nil
}

// tickAll ticks at each whole second of NATS time.
func (s *Scheduler) tickAll(ctx context.Context) {
	var every cron.Schedule = cron.Every(time.Second)
	for {
		now := s.cfg.Now()
		if !sleep.For(ctx, every.Next(now).Sub(now)) {
			return
		}
		s.tick(ctx, s.cfg.Now())
	}
}

// dueBatch is how many entries are looked at under one hold of the lock, about a millisecond's worth.
const dueBatch = 4096

func (s *Scheduler) tick(ctx context.Context, now time.Time) {
	for more := s.beginTick(); more; {
		more = s.collect(now)
	}
	s.mu.Lock()
	for l := range s.busy {
		s.kick(ctx, l)
	}
	if s.read {
		s.tellAnnounced(now)
	}
	for _, l := range s.lanes {
		s.endPause(ctx, l, now)
	}
	s.mu.Unlock()
	s.report()
}

// beginTick counts the tick and reports whether there may be anything to do: while NATS is away there is not.
func (s *Scheduler) beginTick() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticks++
	return s.live
}

// collect takes what is due out of the index.
func (s *Scheduler) collect(now time.Time) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.Due(now, dueBatch, func(r Ref, w Work) {
		if w&WorkJob != 0 {
			l := s.lane(string(s.index.Provider(r)))
			l.queue.push(queued{deadline: s.index.Deadline(r), ref: r})
			s.busy[l] = struct{}{}
		}
		if w &^= WorkJob; w != 0 {
			s.tell(r, w, now)
		}
	})
}

// lane returns the lane of a provider, known or not. s.mu is held.
func (s *Scheduler) lane(name string) *lane {
	l := s.lanes[name]
	if l == nil {
		l = &lane{name: name}
		s.lanes[name] = l
	}
	return l
}
