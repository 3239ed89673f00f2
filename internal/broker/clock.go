package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	clockInterval = 30 * time.Second
	clockRetry    = 5 * time.Second // after a measurement that failed
	clockSamples  = 5
)

// clock keeps NATS time: the clock of the server that stamps the records' messages.
type clock struct {
	anchor    atomic.Pointer[clockSample] // the last good measurement
	lastError atomic.Pointer[error]       // of the measurements since; nil when the last one was good
	ready     chan struct{}
	once      sync.Once
}

func newClock() *clock { return &clock{ready: make(chan struct{})} }

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

// offset is how far NATS time was ahead of the local wall clock when it was measured.
func (s clockSample) offset() time.Duration {
	return s.at(s.received).Sub(s.received.Round(0))
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

// ClockReading tells how well NATS time is known.
type ClockReading struct {
	Offset    time.Duration // NATS time minus local wall clock when measured
	Precision time.Duration // how far off that may be: half a round trip
	At        time.Time     // local time of the measurement; zero: there was none yet
	Stale     bool          // three intervals have passed without a measurement
	Err       error         // what is wrong with the latest attempt to measure; nil: nothing
}

// Clock returns the present reading.
func (b *Broker) Clock() ClockReading {
	r := ClockReading{Stale: true}
	if err := b.clock.lastError.Load(); err != nil {
		r.Err = *err
	}
	if s := b.clock.anchor.Load(); s != nil {
		r.Offset, r.Precision, r.At = s.offset(), s.roundTrip()/2, s.received.Round(0)
		r.Stale = time.Since(s.received) > 3*clockInterval
	}
	return r
}

// ClockReady is closed once NATS time has been measured.
func (b *Broker) ClockReady() <-chan struct{} { return b.clock.ready }

// RunClock measures NATS time now and every 30 s, until ctx ends; it then returns nil. What goes wrong is in Clock.
func (b *Broker) RunClock(ctx context.Context) error {
	for {
		wait := clockInterval
		if err := b.measureClock(ctx); err != nil {
			wait = clockRetry
		}
		if sleep(ctx, wait) != nil {
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
