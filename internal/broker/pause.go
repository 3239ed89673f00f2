package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// operated reports whether a person stands behind by.
func operated(by string) bool { return by == "operator" || strings.HasPrefix(by, "operator:") }

// mergePause decides what a lane's pause becomes when want is asked for: an operator's word replaces
// anything; a program only extends a program's pause, and never touches an operator's.
func mergePause(now time.Time, have *provider.Pause, want provider.Pause) *provider.Pause {
	switch {
	case operated(want.By):
		return &want
	case !want.Active(now):
		return have
	case !have.Active(now):
		return &want
	case operated(have.By), !endsAfter(want.Until, have.Until):
		return have
	default:
		return &want
	}
}

// endsAfter compares the ends of two pauses; zero is no end.
func endsAfter(a, b time.Time) bool {
	return !b.IsZero() && (a.IsZero() || a.After(b))
}

// mayResume reports whether by may lift a pause: an operator every one, a program only a program's.
func mayResume(have *provider.Pause, by string) bool {
	return have != nil && (operated(by) || !operated(have.By))
}

// PauseLane stops a provider's lane, by the rules of mergePause, and returns the revision at which the entry says so: that of
// the present pause, where it was left as it is. Jobs in flight go on.
func (b *Broker) PauseLane(ctx context.Context, name string, p provider.Pause) (revision uint64, err error) {
	revision, _, err = b.changePause(ctx, name, func(have *provider.Pause) *provider.Pause {
		return mergePause(b.Now(), have, p)
	})
	if err != nil {
		return 0, fmt.Errorf("pause provider %s: %w", name, err)
	}
	return revision, nil
}

// ResumeLane lifts a lane's pause. resumed is false where there is none, or one that by may not lift: a
// program never lifts an operator's.
func (b *Broker) ResumeLane(ctx context.Context, name, by string) (revision uint64, resumed bool, err error) {
	return b.liftPause(ctx, name, func(have *provider.Pause) bool { return mayResume(have, by) })
}

// EndExpiredPause removes a pause whose end has passed at now. ended is true for exactly one of those who try, and
// revision is then what the event's id is made from.
func (b *Broker) EndExpiredPause(ctx context.Context, name string, now time.Time) (revision uint64, ended bool, err error) {
	return b.liftPause(ctx, name, func(have *provider.Pause) bool { return have != nil && !have.Active(now) })
}

func (b *Broker) liftPause(ctx context.Context, name string, may func(*provider.Pause) bool) (uint64, bool, error) {
	revision, lifted, err := b.changePause(ctx, name, func(have *provider.Pause) *provider.Pause {
		if may(have) {
			return nil
		}
		return have
	})
	if err != nil {
		return 0, lifted, fmt.Errorf("resume provider %s: %w", name, err)
	}
	return revision, lifted, nil
}

// changePause writes what decide makes of the present pause, by compare-and-set until it holds, and derives
// the lane's own pause from it. Returning the pause it was given leaves the entry alone.
func (b *Broker) changePause(
	ctx context.Context, name string, decide func(*provider.Pause) *provider.Pause,
) (revision uint64, changed bool, err error) {
	for {
		e, rev, err := b.Provider(ctx, name)
		if err != nil {
			return 0, false, err
		}
		want := decide(e.Pause)
		if want == e.Pause {
			return rev, false, b.SyncPause(ctx, name)
		}
		if want == nil {
			b.clearLane(ctx, name)
		}
		if e.Pause != nil && e.Pause.Reason == provider.PauseRejections {
			e.RejectionsSince = b.Now().UTC()
		}
		e.Pause = want
		rev, err = b.PutProvider(ctx, name, e, rev)
		switch {
		case errors.Is(err, refresh.ErrConflict):
			continue // somebody else got on; every round somebody does
		case err != nil:
			return 0, false, err
		}
		return rev, true, b.SyncPause(ctx, name)
	}
}

// clearLane drops the jobs that wait in a lane about to run again: whoever still wants them asks again, and the schedulers
// let them in little by little. Failing is harmless, it only makes the start rougher.
func (b *Broker) clearLane(ctx context.Context, name string) {
	req := struct {
		Filter string `json:"filter"`
	}{b.names.LaneSubjects(name)}
	_ = b.api(ctx, "STREAM.PURGE."+b.names.JobsStream(), req, &apiReply{})
}

// SyncPause makes a lane's consumer pause, or run, as its provider's entry says. It is harmless to repeat, and repairs what a
// process left behind that died between the two writes. A provider without a lane is fine.
func (b *Broker) SyncPause(ctx context.Context, name string) error {
	for seen := uint64(0); ; {
		e, rev, err := b.Provider(ctx, name)
		switch {
		case errors.Is(err, ErrUnknownProvider):
			return nil
		case err != nil:
			return err
		case rev == seen:
			return nil // nobody changed the entry while the consumer was told
		}
		seen = rev
		if err := b.pauseConsumer(ctx, name, e.Pause); err != nil {
			return err
		}
	}
}

func (b *Broker) pauseConsumer(ctx context.Context, name string, p *provider.Pause) error {
	req := struct {
		Until time.Time `json:"pause_until,omitzero"`
	}{consumerPause(p)}
	err := b.api(ctx, "CONSUMER.PAUSE."+b.names.JobsStream()+"."+name, req, &apiReply{})
	if err = laneError(name, err); errors.Is(err, ErrNoLane) {
		return nil
	}
	return err
}

// consumerPause translates a pause; the zero time means none. JetStream knows no pause without an end: one that waits for
// somebody lasts until 2200. A pause that is over is none for the server as well.
func consumerPause(p *provider.Pause) time.Time {
	switch {
	case p == nil:
		return time.Time{}
	case p.Until.IsZero():
		return time.Date(2200, time.January, 1, 0, 0, 0, 0, time.UTC)
	default:
		return p.Until.Add(liftWithin)
	}
}

// liftWithin is how much longer a lane's consumer rests than its pause lasts, so that a scheduler ends the pause, and the lane
// starts little by little. Without any scheduler it runs again all the same.
const liftWithin = 5 * time.Second
