package broker

import "time"

// What the pure parts decide, for table tests.
var (
	CheckVersion  = checkVersion
	MergePause    = mergePause
	MayResume     = mayResume
	DeniedSubject = deniedSubject
	BestSample    = bestSample
	Stays         = stays
)

// LiftWithin is how much longer a lane rests than its pause.
const LiftWithin = liftWithin

// ClockSample is one look at the server's clock.
type ClockSample = clockSample

// NewClockSample makes a sample.
func NewClockSample(sent, received, server time.Time) ClockSample {
	return clockSample{sent: sent, received: received, server: server}
}

// At returns NATS time by this sample.
func (s clockSample) At(local time.Time) time.Time { return s.at(local) }

// PlaceOf is placeOf.
func PlaceOf(reply string) (stream, consumer, at uint64, ok bool) {
	p, ok := placeOf(reply)
	return p.stream, p.consumer, p.at, ok
}
