package fleet

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
)

// Heard is what one subscriber has heard since the fleet's start.
type Heard struct {
	// Events counts events by type, each told once however often it came.
	Events map[events.Type]int
	// Reasons counts the new versions by why they came to be.
	Reasons map[events.Reason]int
	// Late counts renewals told after the end of the access token before.
	Late int
	// Margin is the least time that was left of an access token when its renewal was told; negative when Late is not 0.
	// It is the longest time.Duration before the first renewal.
	Margin time.Duration
	// Versions are the newest ones heard, and Ends the ends of their access tokens, by account.
	Versions map[string]uint64
	Ends     map[string]time.Time
}

// listening is a subscriber at work. The mutex guards what is below it.
type listening struct {
	cancel context.CancelFunc
	done   chan error

	mu      sync.Mutex
	heard   Heard
	changed chan struct{} // closed and replaced with each event
}

// listen subscribes, through every fault of the server, until Close.
func (f *Fleet) listen(context.Context) error {
	b, err := f.open(RoleSubscriber)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &listening{
		cancel: cancel, done: make(chan error, 1), changed: make(chan struct{}),
		heard: Heard{
			Events: make(map[events.Type]int), Reasons: make(map[events.Reason]int), Margin: math.MaxInt64,
			Versions: make(map[string]uint64), Ends: make(map[string]time.Time),
		},
	}
	f.listening = l
	go func() {
		l.done <- events.Replay(ctx, b.JetStream(), events.SubscribeConfig{Names: b.Names(), Follow: true}, l.hear)
	}()
	f.onClose(func() error {
		cancel()
		return <-l.done
	})
	return nil
}

func (l *listening) hear(_ context.Context, e events.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard.Events[e.Type]++
	if e.Type == events.TokenUpdated {
		l.updated(e)
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *listening) updated(e events.Event) {
	l.heard.Reasons[e.Data.Reason]++
	account := e.Data.Account
	if end, ok := l.heard.Ends[account]; ok {
		margin := end.Sub(e.Time)
		l.heard.Margin = min(l.heard.Margin, margin)
		if margin < 0 {
			l.heard.Late++
		}
	}
	l.heard.Versions[account], l.heard.Ends[account] = e.Data.Version, e.Data.ExpiresAt
}

// Heard returns what the subscriber has heard so far.
func (f *Fleet) Heard() Heard {
	h, _ := f.listening.now()
	return h
}

// now returns a copy, and what is closed when there is more.
func (l *listening) now() (Heard, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.heard
	h.Events, h.Reasons = maps.Clone(h.Events), maps.Clone(h.Reasons)
	h.Versions, h.Ends = maps.Clone(h.Versions), maps.Clone(h.Ends)
	return h, l.changed
}

// AwaitHeard waits until what was heard is enough.
func (f *Fleet) AwaitHeard(ctx context.Context, enough func(Heard) bool) error {
	for {
		h, changed := f.listening.now()
		if enough(h) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for events: %w; heard so far: %v", ctx.Err(), h.Events)
		}
	}
}

// AwaitRenewals waits until every account has n versions more than now, as far as the subscriber has heard.
func (f *Fleet) AwaitRenewals(ctx context.Context, n uint64) error {
	start, accounts := f.Heard().Versions, f.Accounts()
	behind := len(accounts)
	err := f.AwaitHeard(ctx, func(h Heard) bool {
		behind = 0
		for _, a := range accounts {
			if h.Versions[a] < start[a]+n {
				behind++
			}
		}
		return behind == 0
	})
	if err != nil {
		return fmt.Errorf("%d of %d accounts were not renewed %d times: %w", behind, len(accounts), n, err)
	}
	return nil
}

// AwaitFresh waits until every account's access token lives for at least that long from now on, as far as the subscriber
// has heard.
func (f *Fleet) AwaitFresh(ctx context.Context, left time.Duration) error {
	accounts := f.Accounts()
	return f.AwaitHeard(ctx, func(h Heard) bool {
		least := time.Now().Add(left)
		return !slices.ContainsFunc(accounts, func(a string) bool { return h.Ends[a].Before(least) })
	})
}
