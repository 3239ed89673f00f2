package provider_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/provider"
)

func TestRateSlotsFollowEachOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rate := provider.Rate(rapid.Float64Range(1.0/600, 1e6).Draw(t, "rate"))
		now := time.Unix(rapid.Int64Range(1_600_000_000, 4_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		id, next := rate.Slot("acme", now)
		after, _ := rate.Slot("acme", next)
		last, _ := rate.Slot("acme", next.Add(-1))
		if !next.After(now) || after == id || last != id || !strings.HasPrefix(id, "acme:") {
			t.Fatalf("%s at %v, %s at %v, %s just before", id, now, after, next, last)
		}
		if length := rate.SlotLength(); next.Sub(now) > length || float64(time.Second)/float64(length) > float64(rate) {
			t.Fatalf("a slot of %v for a rate of %v", length, float64(rate))
		}
	})
}

func TestRatesOfPeople(t *testing.T) {
	t.Parallel()
	for rate, want := range map[string]time.Duration{
		"50/s": 20 * time.Millisecond, "1/s": time.Second, "60/m": time.Second, "10/m": 6 * time.Second, "7200/h": 500 * time.Millisecond,
	} {
		var r provider.Rate
		if err := r.UnmarshalText([]byte(rate)); err != nil {
			t.Fatal(err)
		}
		if got := r.SlotLength(); got < want || got > want+1 {
			t.Errorf("%s: a slot of %v, want %v", rate, got, want)
		}
	}
}
