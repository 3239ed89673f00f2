package schedule_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/provider"
)

func TestRoom(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		name string
		info broker.LaneInfo
		rate provider.Rate
		want int
	}{
		{"an empty lane takes twice its concurrency", broker.LaneInfo{MaxAckPending: 64}, 0, 128},
		{"what waits and what is in flight counts", broker.LaneInfo{MaxAckPending: 64, Pending: 20, AckPending: 60}, 0, 48},
		{"a full lane takes nothing", broker.LaneInfo{MaxAckPending: 4, Pending: 500, AckPending: 4}, 0, 0},
		{"a lane without a bound", broker.LaneInfo{MaxAckPending: -1}, 0, 128},
		{"a rate: three seconds' worth", broker.LaneInfo{MaxAckPending: 64}, 10, 30},
		{"a rate: calls in flight do not count", broker.LaneInfo{MaxAckPending: 64, Pending: 5, AckPending: 40}, 10, 25},
		{"a slow rate: one at a time", broker.LaneInfo{MaxAckPending: 64}, provider.Rate(1.0 / 60), 1},
		{"a rate beyond the concurrency", broker.LaneInfo{MaxAckPending: 4}, 1e12, 8},
		{"a paused lane takes nothing", broker.LaneInfo{MaxAckPending: 64, Paused: true, PausedUntil: now.Add(time.Hour)}, 0, 0},
		{"a pause that is over", broker.LaneInfo{MaxAckPending: 64, Paused: true, PausedUntil: now}, 0, 128},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := schedule.Room(tt.info, tt.rate, now); got != tt.want {
				t.Errorf("room for %d, want %d", got, tt.want)
			}
		})
	}
}

func TestQueueGivesTheEarliestDeadlineFirst(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOf(rapid.Uint32Range(0, 50)).Draw(t, "deadlines")
		want := slices.Sorted(slices.Values(in))
		if got := schedule.Drain(in); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestWaitBeforeTheNextLookDoublesToAMinute(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for _, tries := range []int{0, 1, 2, 3, 4, 5, 255} {
		got = append(got, schedule.LookAgain(tries))
	}
	s := time.Second
	if want := []time.Duration{5 * s, 10 * s, 20 * s, 40 * s, 60 * s, 60 * s, 60 * s}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
