package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/internal/telemetry"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// shown returns t, or where there is none one that nobody looks at.
func shown(t *telemetry.Telemetry) *telemetry.Telemetry {
	if t == nil {
		return telemetry.New(Version())
	}
	return t
}

// ShowNATS shows a process's connection, and that it must stand, until hide is called.
func ShowNATS(t *telemetry.Telemetry, nc *nats.Conn) (hide func()) {
	return together(
		t.Show(telemetry.Source{NATS: LookAt(nc)}),
		t.Health.Check("nats", func() error {
			if !nc.IsConnected() {
				return nats.ErrDisconnected
			}
			return nil
		}))
}

// LookAt tells a telemetry.Source of a connection.
func LookAt(nc *nats.Conn) func() (connected bool, reconnects uint64) {
	return func() (bool, uint64) { return nc.IsConnected(), nc.Stats().Reconnects }
}

func together(all ...func()) func() {
	return func() {
		for _, f := range all {
			f()
		}
	}
}

// ShowBroker shows NATS time, until hide is called.
func ShowBroker(t *telemetry.Telemetry, b *broker.Broker) (hide func()) {
	return together(t.Show(telemetry.Source{Offset: b.Offset}), t.Health.Check("clock", b.ClockFault))
}

// show shows what a worker has, once it is built.
func (w *Worker) show() (hide func()) {
	h := &w.telemetry.Health
	all := []func(){
		ShowBroker(w.telemetry, w.broker), w.telemetry.Show(telemetry.Source{Journal: w.journal.Stats}),
		h.Check("journal", w.journal.Writable), h.Check("providers", w.providersKnown), h.Check("lanes", w.serving.check),
	}
	if w.exchanger != nil {
		all = append(all, h.Check("exchanger", w.exchanger.Ready))
	}
	return together(all...)
}

func (w *Worker) providersKnown() error {
	if !w.providers.ready() {
		return errors.New("the providers have not been read yet")
	}
	return nil
}

// serving is which lanes a worker takes jobs from. One that is missing keeps it from no other, so that the worker is ready as
// long as there is one that works, or none at all.
type serving struct {
	mu    sync.Mutex
	lanes map[string]error // nil: jobs are taken
}

func (s *serving) note(lane string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lanes == nil {
		s.lanes = make(map[string]error)
	}
	s.lanes[lane] = err
}

func (s *serving) forget(lane string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.lanes, lane)
}

func (s *serving) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var faults []error
	for name, err := range s.lanes {
		if err == nil {
			return nil
		}
		faults = append(faults, fmt.Errorf("%s: %w", name, err))
	}
	return errors.Join(faults...)
}

// carryOut does one job, counted and traced.
func (w *Worker) carryOut(ctx context.Context, d *broker.Delivery) refresh.Result {
	w.telemetry.Taken(d.Credential.Provider, w.broker.Now().Sub(d.Published))
	if w.tracer == nil {
		return w.engine.Do(ctx, d.Credential, d.Job)
	}
	return w.tracer.Process(ctx, d.Credential, d.Job, func(ctx context.Context) refresh.Result {
		return w.engine.Do(ctx, d.Credential, d.Job)
	})
}

// countingTeller counts what the stream has taken.
type countingTeller struct {
	refresh.Teller
	now func() time.Time
	t   *telemetry.Telemetry
}

// Publish implements refresh.Teller.
func (c countingTeller) Publish(ctx context.Context, e events.Event) error {
	err := c.Teller.Publish(ctx, e)
	if err == nil {
		c.t.Told(e, c.now().Sub(e.Time))
	}
	return err
}

const (
	// laneEvery is how often a scheduler that somebody watches asks how full the lanes are.
	laneEvery = 15 * time.Second
	// laneSoon is how soon it looks again while it knows of none.
	laneSoon = time.Second
)

// laneWatch knows how full the lanes were.
type laneWatch struct {
	mu    sync.Mutex
	lanes map[string]broker.LaneInfo
}

func (l *laneWatch) get() map[string]broker.LaneInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.lanes)
}

// run asks until ctx ends. A lane that does not answer is left out until it does.
func (l *laneWatch) run(ctx context.Context, b *broker.Broker, s *schedule.Scheduler) error {
	for {
		found := make(map[string]broker.LaneInfo)
		for name, p := range s.Stats().Providers {
			if !p.Known {
				continue
			}
			if info, err := b.LaneInfo(ctx, name); err == nil {
				found[name] = info
			}
		}
		l.mu.Lock()
		l.lanes = found
		l.mu.Unlock()
		wait := laneEvery
		if len(found) == 0 {
			wait = laneSoon
		}
		if !sleep.For(ctx, wait) {
			return nil
		}
	}
}

// showSchedule shows a scheduler's index and the lanes.
func showSchedule(t *telemetry.Telemetry, s *schedule.Scheduler, l *laneWatch) (hide func()) {
	return together(t.Show(telemetry.Source{Schedule: s.Stats, Lanes: l.get}), t.Health.Check("records", func() error {
		if !s.Stats().Live {
			return errors.New("the records have not all been read yet, or cannot be followed")
		}
		return nil
	}))
}

// providerOf is a key's part before the first dot.
func providerOf(key string) string {
	name, _, _ := strings.Cut(key, ".")
	return name
}
