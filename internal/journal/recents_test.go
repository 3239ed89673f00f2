package journal_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/internal/journal"
)

type who struct {
	a uint64
	b uint32
}

// The index, the order and the blocks are what a map and a list say, also where many identities share a half and where
// numbers pass 2³².
func TestRecentEntriesAreFoundByIdentityAndInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var k journal.Kept
		k.StartAt(rapid.SampledFrom([]uint64{0, 1000, 1<<32 - 5, 3<<32 - 100}).Draw(rt, "start"))
		numbers, order := map[who]uint64{}, []who{}
		draw := func() who {
			return who{rapid.Uint64Range(0, 40).Draw(rt, "a") << rapid.SampledFrom([]uint{0, 6, 58}).Draw(rt, "shift"), rapid.Uint32Range(0, 2).Draw(rt, "b")}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"push": func(*rapid.T) {
				for range 20 {
					if w := draw(); numbers[w] == 0 {
						numbers[w] = k.Push(w.a, w.b)
						order = append(order, w)
					}
				}
			},
			"remove": func(*rapid.T) {
				for range 15 {
					if w := draw(); numbers[w] != 0 {
						k.Remove(numbers[w])
						delete(numbers, w)
						order = slices.DeleteFunc(order, func(o who) bool { return o == w })
					}
				}
			},
			"": func(*rapid.T) {
				w := draw()
				if got := k.Find(w.a, w.b); got != numbers[w] {
					rt.Fatalf("found %d for %v, want %d", got, w, numbers[w])
				}
				oldest := uint64(0)
				if len(order) > 0 {
					oldest = numbers[order[0]]
				}
				if got := k.Oldest(); got != oldest {
					rt.Fatalf("the oldest is %d, want %d", got, oldest)
				}
				for w, n := range numbers {
					if k.Find(w.a, w.b) != n {
						rt.Fatalf("%v is not found", w)
					}
				}
			},
		})
	})
}

func TestMemoryOfRecentEntriesIsFreedWhateverTheOrderTheyGoIn(t *testing.T) {
	t.Parallel()
	var k journal.Kept
	spread := func(i uint64) uint64 { return i * 0x9E3779B97F4A7C15 } // as hashes are
	for i := range uint64(50_000) {
		k.Push(spread(i), 0)
	}
	for i := range uint64(50_000) {
		if i != 7 && i != 30_000 {
			k.Remove(k.Find(spread(i), 0))
		}
	}
	if got := k.Blocks(); got != 3 { // two with an entry, and the last
		t.Errorf("%d blocks", got)
	}
	k.Remove(k.Oldest())
	if k.Oldest() != k.Find(spread(30_000), 0) || k.Blocks() != 2 {
		t.Errorf("the oldest is %d, in %d blocks", k.Oldest(), k.Blocks())
	}
}
