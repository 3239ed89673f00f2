package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// What callers branch on.
var (
	// ErrReauthRequired says that only a person can help: the credential must be authorised again.
	ErrReauthRequired = errors.New("a person must authorise again")
	// ErrPaused says that nothing is refreshed before a pause has ended.
	ErrPaused = errors.New("paused")
)

// FailedError is an attempt that failed and will be tried again.
type FailedError struct {
	Credential events.Credential
	Class      string
	Code       string
	NextAt     time.Time
}

// Error implements error.
func (e *FailedError) Error() string {
	s := fmt.Sprintf("refresh of %s failed: %s", e.Credential, e.Class)
	if e.Code != "" {
		s += " (" + e.Code + ")"
	}
	if !e.NextAt.IsZero() {
		s += ", tried again at " + e.NextAt.UTC().Format(time.RFC3339)
	}
	return s
}

// NoAnswerError is a demand that nobody answered in time. It is a context.DeadlineExceeded.
type NoAnswerError struct {
	Credential events.Credential
	Waited     time.Duration
}

// Error implements error.
func (e *NoAnswerError) Error() string {
	return fmt.Sprintf("nobody answered the demand for %s within %s: is a worker running, and has it the keyset of this credential?",
		e.Credential, e.Waited.Round(time.Millisecond))
}

// Unwrap returns context.DeadlineExceeded.
func (e *NoAnswerError) Unwrap() error { return context.DeadlineExceeded }

// Waits between two publications of a demand that has not been answered.
const (
	firstDemand = 500 * time.Millisecond
	maxDemand   = 10 * time.Second
)

// Demand asks for a version above newerThan and waits until it is committed, until an attempt failed, or until ctx
// ends. The queue may hold a job that asks for less, so the demand is published again until it is answered. What no worker
// could change fails at once: ErrReauthRequired, also for a credential without a refresh token; ErrPaused; the errors
// of refresh.Store's Get. A *NoAnswerError says that ctx's deadline came first.
func Demand(ctx context.Context, b *broker.Broker, c events.Credential, job refresh.Job) (events.Event, error) {
	entry, _, err := b.Provider(ctx, c.Provider)
	if err != nil {
		return events.Event{}, err
	}
	s, err := b.Get(ctx, c)
	if err != nil {
		return events.Event{}, fmt.Errorf("%s: %w", c, err)
	}
	if err := refreshable(&s.Record); err != nil {
		return events.Event{}, err
	}
	begun := time.Now()
	heard, stop, err := listen(ctx, b, c)
	if err != nil {
		return events.Event{}, err
	}
	defer stop()
	for wait := firstDemand; ; wait = min(2*wait, maxDemand) {
		var e events.Event
		err := publishDemand(ctx, b, c, job, entry.Definition.Limits.Rate)
		if err == nil {
			e, err = answer(ctx, heard, c, job, wait)
		}
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			err = &NoAnswerError{Credential: c, Waited: time.Since(begun)}
		}
		if err != nil || e.ID != "" {
			return e, err
		}
	}
}

// refreshable says at once what no worker could change.
func refreshable(r *refresh.Record) error {
	c := r.Credential()
	switch {
	case r.State.Withdrawn():
		return fmt.Errorf("%w: %s is %s", refresh.ErrNotFound, c, r.State)
	case r.State == refresh.StateReauthRequired:
		return fmt.Errorf("%w: freshet login %s", ErrReauthRequired, c)
	case r.Paused != nil:
		return fmt.Errorf("%s is %w by %s: freshet resume %s", c, ErrPaused, r.Paused.By, c)
	case withoutRefreshToken(r):
		return fmt.Errorf("%w: %s has no refresh token: freshet login %s", ErrReauthRequired, c, c)
	}
	return nil
}

// withoutRefreshToken reports whether a record tells, to somebody without the grant keyset, that there is nothing to refresh
// it with. An enrolment without a refresh token seals an empty one, plans no refresh and lets the grant end with its
// only token.
func withoutRefreshToken(r *refresh.Record) bool {
	return len(r.Grant) == 0 || r.RefreshAt.IsZero() && !r.ExpiresAt.IsZero() && r.GrantExpiresAt.Equal(r.ExpiresAt)
}

// publishDemand queues the job unless one is there already or the lane has no room for it: the caller comes back.
func publishDemand(ctx context.Context, b *broker.Broker, c events.Credential, job refresh.Job, rate provider.Rate) error {
	room, err := laneHasRoom(ctx, b, c.Provider, rate)
	if err != nil || !room {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, maxDemand) // slots may be contested, and the lane full before we have one
	defer cancel()
	err = b.Demand(timed, c, job, rate)
	if err == nil || errors.Is(err, broker.ErrQueued) || timed.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("ask for a refresh of %s: %w", c, err)
}

// demandAhead is how many seconds' worth of jobs may wait in a lane with a rate.
const demandAhead = 3

// laneHasRoom reports whether a demand may be queued. A rate is kept where jobs are published: what waits in a lane that
// stands still goes all at once when it moves again, so it must not be much.
func laneHasRoom(ctx context.Context, b *broker.Broker, name string, rate provider.Rate) (bool, error) {
	if rate.IsZero() {
		return true, nil // the lane's concurrency is the only bound
	}
	info, err := b.LaneInfo(ctx, name)
	if err != nil {
		return false, err
	}
	return !info.Paused && float64(info.Pending) < max(float64(rate)*demandAhead, 1), nil
}

// listen hears a credential's events from now on, until stop is called.
func listen(ctx context.Context, b *broker.Broker, c events.Credential) (heard <-chan events.Event, stop func(), err error) {
	ch, ready, done := make(chan events.Event, 64), make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	cfg := events.SubscribeConfig{
		Names: b.Names(), Filter: events.Filter{Provider: c.Provider, Account: c.Account}, OnReady: func() { close(ready) },
	}
	go func() {
		done <- events.Live(ctx, b.Conn(), cfg, func(e events.Event) {
			select {
			case ch <- e:
			default: // more than anybody waits for
			}
		})
	}()
	select {
	case <-ready:
		return ch, func() { cancel(); <-done }, nil
	case err := <-done:
		cancel()
		return nil, nil, fmt.Errorf("listen for events of %s: %w", c, err)
	}
}

// answer waits for an event that ends the demand. The zero event means that none came in time.
func answer(ctx context.Context, heard <-chan events.Event, c events.Credential, job refresh.Job, wait time.Duration) (events.Event, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return events.Event{}, ctx.Err()
		case <-timer.C:
			return events.Event{}, nil
		case e := <-heard:
			if over, err := ends(e, c, job); over {
				return e, err
			}
		}
	}
}

func ends(e events.Event, c events.Credential, job refresh.Job) (bool, error) {
	if e.Data.Credential() != c {
		return false, nil
	}
	switch e.Type {
	case events.TokenUpdated:
		return e.Data.Version > job.NewerThan, nil
	case events.TokenReauthRequired:
		if e.Data.State != string(refresh.StateReauthRequired) {
			return false, nil // the grant's own end, announced ahead: it can still be refreshed
		}
		return true, fmt.Errorf("%w: %s", ErrReauthRequired, c)
	case events.TokenRefreshFailed:
		return true, &FailedError{Credential: c, Class: e.Data.Class, Code: e.Data.Code, NextAt: e.Data.NextAttemptAt}
	case events.TokenRevoked, events.TokenDeleted:
		return true, fmt.Errorf("%w: %s is %s", refresh.ErrNotFound, c, e.Data.State)
	default:
		return false, nil
	}
}
