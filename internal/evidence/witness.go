package evidence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// witness is a subscriber that remembers what the experiments ask about. The mutex guards what is below it.
type witness struct {
	cancel context.CancelFunc
	done   chan error
	shut   func()

	mu       sync.Mutex
	versions map[string]uint64    // the newest one, by account
	ends     map[string]time.Time // of the newest access token, by account
	margins  []time.Duration      // of each renewal: from its being told to the end of the access token before
	flags    map[string]warning   // the first one, by attempt
	flagged  map[string]bool      // accounts with one
	types    map[events.Type]int  // all events
}

// warning is an event that says that an attempt's outcome is not known.
type warning struct {
	account string
	at      time.Time
}

// attend begins to listen, through every fault of the server.
func attend(f *fleet.Fleet) (*witness, error) {
	b, err := openBroker(f, fleet.RoleSubscriber)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &witness{
		cancel: cancel, done: make(chan error, 1), shut: b.Conn().Close,
		versions: make(map[string]uint64), ends: make(map[string]time.Time), flags: make(map[string]warning),
		flagged: make(map[string]bool), types: make(map[events.Type]int),
	}
	go func() {
		w.done <- events.Replay(ctx, b.JetStream(), events.SubscribeConfig{Names: b.Names(), Follow: true}, w.hear)
	}()
	return w, nil
}

func (w *witness) close() error {
	w.cancel()
	err := <-w.done
	w.shut()
	return err
}

func (w *witness) hear(_ context.Context, e events.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	account := e.Data.Account
	w.types[e.Type]++
	switch e.Type {
	case events.TokenUpdated:
		if end, ok := w.ends[account]; ok {
			w.margins = append(w.margins, end.Sub(e.Time))
		}
		w.versions[account], w.ends[account] = e.Data.Version, e.Data.ExpiresAt
	case events.TokenRefreshFailed:
		if _, known := w.flags[e.Data.Attempt]; !known && e.Data.State == string(refresh.StateUncertain) {
			w.flags[e.Data.Attempt] = warning{account, e.Time}
			w.flagged[account] = true
		}
	default: // only counted
	}
	return nil
}

func (w *witness) version(account string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.versions[account]
}

// updates counts the new versions heard of.
func (w *witness) updates() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.types[events.TokenUpdated]
}

// said returns the attempts that an event has said to be of unknown outcome, and the accounts they were about.
func (w *witness) said() (byAttempt map[string]warning, accounts map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.flags), maps.Clone(w.flagged)
}

// renewals returns the margins of all renewals so far, the least first.
func (w *witness) renewals() margins {
	w.mu.Lock()
	defer w.mu.Unlock()
	return margins(slices.Sorted(slices.Values(w.margins)))
}

// margins are how much was left of access tokens when they were renewed, in ascending order.
type margins []time.Duration

// at is the value that a share of all margins does not exceed.
func (m margins) at(share float64) time.Duration {
	return m[min(int(share*float64(len(m))), len(m)-1)].Round(time.Millisecond)
}

// late counts those that came after the end.
func (m margins) late() int {
	n, _ := slices.BinarySearch(m, 0)
	return n
}

func (m margins) String() string {
	if len(m) == 0 {
		return "no renewal"
	}
	return fmt.Sprintf("least %v, 0.1%% %v, 1%% %v, 10%% %v, half %v, most %v; %d of %d too late",
		m.at(0), m.at(0.001), m.at(0.01), m.at(0.1), m.at(0.5), m.at(1), m.late(), len(m))
}
