package provider

import (
	"cmp"
	"time"
)

// Timing is how the stations of one attempt lie inside each other:
// Timeout < ClaimTTL < ClaimTTL+Quarantine < AckWait.
type Timing struct {
	Timeout    time.Duration // the absolute deadline of the token request
	ClaimTTL   time.Duration // how long a claim is live
	Quarantine time.Duration // after a dead claim, before anybody else acts on it
	AckWait    time.Duration // the lane's redelivery
}

const (
	minTimeout = time.Second
	maxTimeout = 5 * time.Minute
	// minGraceTimeout is the shortest request that a rotation grace may force: below it, ordinary answers would be
	// cut off and the cure would make the doubts it is for.
	minGraceTimeout = 2 * time.Second
	// maxAckMargin bounds what is for the writes and reads around a claim, before the queue gives the job to somebody else.
	// Short requests have no more of it than they take themselves: the sooner the job comes back, the more tries fit a grace.
	maxAckMargin = 5 * time.Second
	// graceMargin is for the way from the queue to the first byte of the second try.
	graceMargin = time.Second
)

// timingOf derives everything from the request's deadline T: a claim lives a quarter longer than the request it
// announces, because the check before the first byte needs room for the whole of it; the quarantine is one more
// request; and a job comes back only after both.
func timingOf(timeout time.Duration) Timing {
	return Timing{
		Timeout:    timeout,
		ClaimTTL:   timeout * 5 / 4,
		Quarantine: timeout,
		AckWait:    timeout*9/4 + min(timeout, maxAckMargin),
	}
}

// Timing returns the deadlines of one attempt. Under RotationGrace the request may be cut shorter than declared, so
// that after a worker's death a second try ends while the old refresh token is still good.
func (d *Definition) Timing() Timing {
	timeout, _ := d.timeout()
	return timingOf(timeout)
}

// GraceUsable reports whether a second try with the same refresh token fits into the grace. Where it does not, the
// provider is treated as RotationStrict. False for every other class.
func (d *Definition) GraceUsable() bool {
	_, usable := d.timeout()
	return usable
}

// timeout returns the deadline of a request and whether it leaves room for a second one inside the grace.
func (d *Definition) timeout() (t time.Duration, graceUsable bool) {
	t = cmp.Or(d.Limits.Timeout, defaultTimeout).Std()
	t = min(max(t, minTimeout), maxTimeout)
	if d.Rotation != RotationGrace {
		return t, false
	}
	switch fits := longestWithin(d.RotationGrace.Std()); {
	case t <= fits:
		return t, true
	case fits >= minGraceTimeout:
		return fits, true
	default:
		return t, false
	}
}

// longestWithin solves AckWait(T) + T + graceMargin <= grace for T, in whole milliseconds: the job of a dead worker
// is redelivered after AckWait at the latest, and its second request needs T again.
func longestWithin(grace time.Duration) time.Duration {
	room := max(grace-graceMargin, 0)
	short := room / 17 * 4 // AckWait is 13/4 T
	if short <= maxAckMargin {
		return short.Truncate(time.Millisecond)
	}
	return ((room - maxAckMargin) / 13 * 4).Truncate(time.Millisecond)
}
