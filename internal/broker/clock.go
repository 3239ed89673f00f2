package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
)

const (
	clockInterval = 30 * time.Second
	clockRetry    = 5 * time.Second // after a measurement that failed
	clockSamples  = 5
	// clockBound is how long a measurement is good: ten intervals. In that time clocks drift by milliseconds.
	clockBound = 5 * time.Minute
)

// clock keeps NATS time: the clock of the server that stamps the records' messages.
type clock struct {
	anchor    atomic.Pointer[clockSample] // the last good measurement
	lastError atomic.Pointer[error]       // of the measurements since; nil when the last one was good
	begun     time.Time
	ready     chan struct{}
	once      sync.Once
}

func newClock() *clock { return &clock{begun: time.Now(), ready: make(chan struct{})} }

// clockSample is one look at the server's clock.
type clockSample struct {
	sent, received time.Time // local, with monotonic reading
	server         time.Time // somewhere between the two
}

func (s clockSample) roundTrip() time.Duration { return s.received.Sub(s.sent) }

// at returns NATS time at a local time. It goes by the monotonic clock, so that a step of the wall clock does not reach it.
func (s clockSample) at(local time.Time) time.Time {
	return s.server.Add(s.roundTrip()/2 + local.Sub(s.received))
}

// bestSample returns the one with the shortest round trip: the server's clock is known to half of that.
func bestSample(samples []clockSample) clockSample {
	best := samples[0]
	for _, s := range samples[1:] {
		if s.roundTrip() < best.roundTrip() {
			best = s
		}
	}
	return best
}

// Now returns NATS time: local time corrected by the server's own. Before the first measurement it is local time. While a
// machine sleeps it stands still and catches up with the next measurement, so that a claim seems younger, never older, than
// it is.
func (b *Broker) Now() time.Time {
	s := b.clock.anchor.Load()
	if s == nil {
		return time.Now().Round(0)
	}
	return s.at(time.Now())
}

// Offset returns how far NATS time is ahead of the local wall clock, negative when behind; 0 before the first measurement.
func (b *Broker) Offset() time.Duration {
	return b.Now().Sub(time.Now().Round(0))
}

// ClockFault returns nil, or why NATS time has not been measured for more than 5 minutes, and what to do. Now goes on by the
// local monotonic clock meanwhile, which is good for hours unless the machine sleeps.
func (b *Broker) ClockFault() error {
	since := b.clock.begun
	if s := b.clock.anchor.Load(); s != nil {
		since = s.received
	}
	age := time.Since(since)
	if age <= clockBound {
		return nil
	}
	err := errors.New("nobody has tried")
	if last := b.clock.lastError.Load(); last != nil {
		err = *last
	}
	return fmt.Errorf("NATS time has not been measured for %v: check that NATS answers, and that this process may publish to %sSTREAM.INFO.%s: %w",
		age.Round(time.Second), b.prefix, b.names.TokensStream(), err)
}

// ClockReady is closed once NATS time has been measured.
func (b *Broker) ClockReady() <-chan struct{} { return b.clock.ready }

// RunClock measures NATS time now and every 30 s, until ctx ends; it then returns nil. What goes wrong is in
// ClockFault.
func (b *Broker) RunClock(ctx context.Context) error {
	for {
		wait := clockInterval
		if err := b.measureClock(ctx); err != nil {
			wait = clockRetry
		}
		if !sleep.For(ctx, wait) {
			return nil
		}
	}
}

func (b *Broker) measureClock(ctx context.Context) error {
	samples := make([]clockSample, 0, clockSamples)
	for range clockSamples {
		s, err := b.sampleClock(ctx)
		if err != nil {
			err = fmt.Errorf("measure NATS time: %w", err)
			b.clock.lastError.Store(&err)
			return err
		}
		samples = append(samples, s)
	}
	best := bestSample(samples)
	b.clock.anchor.Store(&best)
	b.clock.lastError.Store(nil)
	b.clock.once.Do(func() { close(b.clock.ready) })
	return nil
}

// sampleClock asks the leader of the records' stream, which is also who stamps the records.
func (b *Broker) sampleClock(ctx context.Context) (clockSample, error) {
	var r struct {
		apiReply
		TimeStamp time.Time `json:"ts"`
	}
	sent := time.Now()
	err := b.api(ctx, "STREAM.INFO."+b.names.TokensStream(), nil, &r)
	s := clockSample{sent: sent, received: time.Now(), server: r.TimeStamp}
	if err == nil && r.TimeStamp.IsZero() {
		err = fmt.Errorf("the server does not tell its time")
	}
	return s, err
}
