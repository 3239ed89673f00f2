package app

import (
	"cmp"
	"context"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

const (
	// holdThrottled is a throttled lane's pause when the provider does not say how long.
	holdThrottled = 10 * time.Second
	// maxHold bounds what a provider can ask for.
	maxHold = time.Hour
	// holdMisconfigured is how long a lane waits before one more try at a client that the provider refuses.
	holdMisconfigured = 5 * time.Minute
	// holdWithin bounds the writing down of a pause.
	holdWithin = 10 * time.Second
)

// holdLane pauses the whole lane when the answer concerned not this credential but all of the provider's.
func (w *Worker) holdLane(ctx context.Context, res refresh.Result) {
	p := provider.Pause{By: "worker:" + w.cfg.Name}
	var hold time.Duration
	switch res.Class {
	case refresh.ClassThrottled:
		hold, p.Reason = min(cmp.Or(res.RetryAfter, holdThrottled), maxHold), provider.PauseThrottled
	case refresh.ClassMisconfigured:
		hold, p.Reason = holdMisconfigured, provider.PauseMisconfigured
	default:
		return
	}
	// Whole seconds: the many attempts in flight that hear the same word ask for the same pause.
	p.Until = w.broker.Now().Add(hold + time.Second).Truncate(time.Second).UTC()
	ctx, cancel := context.WithTimeout(ctx, holdWithin)
	defer cancel()
	if err := PauseLane(ctx, w.broker, res.Credential.Provider, p, "freshet/worker/"+w.cfg.Name); err != nil {
		w.log.Warn().Err(err).Str("provider", res.Credential.Provider).Msg("the lane could not be paused")
	}
}

// PauseLane stops a provider's lane and tells it. A pause that is in force and stronger stays.
func PauseLane(ctx context.Context, b *broker.Broker, name string, p provider.Pause, source string) error {
	revision, err := b.PauseLane(ctx, name, p)
	if err != nil {
		return err
	}
	e, now, err := b.Provider(ctx, name)
	if err != nil || e.Pause == nil || now != revision {
		return err // changed meanwhile: whoever did that tells
	}
	return tellLane(ctx, b, events.ProviderPaused, source, events.Data{
		Provider: name, Revision: revision, Reason: events.Reason(e.Pause.Reason), By: e.Pause.By, Until: e.Pause.Until,
	})
}

// ResumeLane lifts a provider's pause and tells it; there being none is fine.
func ResumeLane(ctx context.Context, b *broker.Broker, name, by, source string) error {
	revision, resumed, err := b.ResumeLane(ctx, name, by)
	if err != nil || !resumed {
		return err
	}
	return tellLane(ctx, b, events.ProviderResumed, source, events.Data{Provider: name, Revision: revision, By: by})
}

// tellLane publishes an event about a lane; its id comes from the revision of the pause.
func tellLane(ctx context.Context, b *broker.Broker, t events.Type, source string, d events.Data) error {
	return b.Publisher().Publish(ctx, events.Event{
		ID: events.ProviderEventID(t, d.Provider, d.Revision), Type: t, Source: source, Time: b.Now().UTC(), Data: d,
	})
}
