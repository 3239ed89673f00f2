package events_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/events"
)

func TestSeen(t *testing.T) {
	t.Parallel()
	const alice = "acme/alice"
	token := func(kind events.Type, generation, version uint64, attempt string) events.Event {
		return tokenEvent(kind, alice, generation, version, attempt)
	}
	type step struct {
		event events.Event
		news  bool
	}
	for name, steps := range map[string][]step{
		"a version is news once": {
			{token(events.TokenUpdated, 1, 5, ""), true},
			{token(events.TokenUpdated, 1, 5, ""), false},
			{token(events.TokenUpdated, 1, 6, ""), true},
			{token(events.TokenUpdated, 1, 5, ""), false},
		},
		"a new generation is above every version": {
			{token(events.TokenUpdated, 1, 5, ""), true},
			{token(events.TokenUpdated, 2, 6, ""), true},
			{token(events.TokenUpdated, 1, 7, ""), false},
		},
		"a failure before its version's announcement hides nothing": {
			{token(events.TokenRefreshFailed, 1, 5, "a"), true},
			{token(events.TokenUpdated, 1, 5, ""), true},
			{token(events.TokenUpdated, 1, 5, ""), false},
			{token(events.TokenRefreshFailed, 1, 5, "a"), false},
		},
		"every attempt's failure is news": {
			{token(events.TokenUpdated, 1, 5, ""), true},
			{token(events.TokenRefreshFailed, 1, 5, "a"), true},
			{token(events.TokenExpiring, 1, 5, ""), true},
			{token(events.TokenRefreshFailed, 1, 5, "a"), false},
			{token(events.TokenRefreshFailed, 1, 5, "b"), true},
			{token(events.TokenExpiring, 1, 5, ""), false},
			{token(events.TokenReauthRequired, 1, 5, "b"), true},
		},
		"an old failure is no news": {
			{token(events.TokenUpdated, 1, 6, ""), true},
			{token(events.TokenRefreshFailed, 1, 5, "a"), false},
			{token(events.TokenReauthRequired, 1, 5, "a"), false},
		},
		"a withdrawal overtakes its version's announcement": {
			{token(events.TokenRevoked, 1, 5, ""), true},
			{token(events.TokenUpdated, 1, 5, ""), false},
			{token(events.TokenDeleted, 1, 5, ""), true},
			{token(events.TokenRevoked, 1, 5, ""), false},
			{token(events.TokenUpdated, 2, 6, ""), true},
		},
		"another credential is another story": {
			{token(events.TokenUpdated, 1, 5, ""), true},
			{updated("acme/bob", 1), true},
			{updated("acme/alice/phone", 1), true},
		},
		"a provider event is news once": {
			{providerEvent(events.ProviderPaused, "acme", 10), true},
			{providerEvent(events.ProviderPaused, "acme", 10), false},
			{providerEvent(events.ProviderResumed, "acme", 10), true},
			{providerEvent(events.ProviderPaused, "acme", 11), true},
			{providerEvent(events.ProviderResumed, "acme", 10), false},
			{providerEvent(events.ProviderPaused, "other", 10), true},
		},
		"types of a newer version are told apart by id": {
			{token("token.split", 1, 5, ""), true},
			{token("token.split", 1, 5, ""), false},
			{token("token.join", 1, 5, ""), true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := events.NewSeen(100)
			for i, s := range steps {
				if got := seen.News(s.event); got != s.news {
					t.Fatalf("step %d: news = %t of %s", i, got, s.event.ID)
				}
				if s.news {
					seen.Handled(s.event)
				}
			}
		})
	}
}

func TestSeenIsNewsUntilHandled(t *testing.T) {
	t.Parallel()
	seen, e := events.NewSeen(10), updated("acme/alice", 1)
	for range 2 {
		if !seen.News(e) {
			t.Error("an event that nobody handled is no news")
		}
	}
	seen.Handled(e)
	seen.Handled(updated("acme/alice", 2))
	seen.Handled(e) // late
	if seen.News(updated("acme/alice", 2)) {
		t.Error("handling an old event took the mark back")
	}
}

func TestSeenIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 50
	seen := events.NewSeen(limit)
	for i := range 20 * limit {
		seen.Handled(updated(fmt.Sprintf("acme/%d", i), 1))
		if seen.Len() > 2*limit {
			t.Fatalf("remembers %d credentials, limit %d", seen.Len(), limit)
		}
		for back := range min(i+1, limit) {
			if e := updated(fmt.Sprintf("acme/%d", i-back), 1); seen.News(e) {
				t.Fatalf("forgot the %d-th last of %d credentials", back, i)
			}
		}
	}
	if !events.NewSeen(1).SlotsFit() {
		t.Error("idSlots does not fit the number of types")
	}
}

// Whatever is told in whatever order, and however often handling fails: the versions that are handled only grow,
// and the highest one is among them.
func TestSeenVersionsOnlyGrow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seen := events.NewSeen(4)
		var last, highest events.Data
		above := func(a, b events.Data) bool {
			return a.Generation > b.Generation || a.Generation == b.Generation && a.Version > b.Version
		}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			generation, version := rapid.Uint64Range(1, 3).Draw(t, "generation"), rapid.Uint64Range(1, 5).Draw(t, "version")
			e := tokenEvent(events.TokenUpdated, "acme/alice", generation, version, "")
			if rapid.Bool().Draw(t, "handling fails") {
				continue
			}
			if above(e.Data, highest) {
				highest = e.Data
			}
			if !seen.News(e) {
				continue
			}
			if !above(e.Data, last) {
				t.Fatalf("handled %+v after %+v", e.Data, last)
			}
			seen.Handled(e)
			last = e.Data
		}
		if last != highest {
			t.Fatalf("handled up to %+v, told up to %+v", last, highest)
		}
	})
}

func BenchmarkSeen(b *testing.B) {
	seen := events.NewSeen(100_000)
	all := make([]events.Event, 100_000)
	for i := range all {
		all[i] = updated(fmt.Sprintf("acme/tenant/%d@example.com", i), 1)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := all[i%len(all)]
		e.Data.Version = uint64(i)
		if seen.News(e) {
			seen.Handled(e)
		}
	}
}
