package broker_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// A record that moves to the end of the stream while others are read, and others that did so before it, hide it from one
// reading: a sweep sees the newest of each.
func TestASweepMissesNothingThatChangesMeanwhile(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	const records = 50
	revisions := make(map[string]uint64)
	for i := range records {
		account := fmt.Sprintf("user-%d", i)
		revisions[account] = mustPut(t, b, record(account, 1), 0)
	}
	seen := make(map[string]uint64)
	looks := 0
	err := b.Sweep(t.Context(), func(s refresh.Stored, err error) error {
		if err != nil {
			return err
		}
		r := s.Record
		seen[r.Account] = r.Version
		if looks == 0 && r.Version == 1 { // each is written again when it is seen, and so is one whose turn has not come
			for _, account := range []string{r.Account, fmt.Sprintf("user-%d", records-1)} {
				version := uint64(2)
				if account != r.Account {
					version = 3
				}
				revisions[account] = mustPut(t, b, record(account, version), revisions[account])
			}
		}
		return nil
	}, func() error { looks++; return nil })
	if err != nil || looks < 2 {
		t.Fatalf("sweep: %d looks, %v", looks, err)
	}
	for _, account := range slices.Sorted(maps.Keys(revisions)) {
		c := credential(account)
		s, err := b.Get(t.Context(), c)
		if err != nil || seen[account] != s.Record.Version {
			t.Errorf("%s: seen at version %d, is at %d, %v", account, seen[account], s.Record.Version, err)
		}
	}
}

func TestASweepEndsWithWhatItsCallersSay(t *testing.T) {
	t.Parallel()
	b, _ := setUp(t)
	if err := b.Sweep(t.Context(), nil, nil); err != nil {
		t.Errorf("of nothing: %v", err)
	}
	mustPut(t, b, record("alice", 1), 0)
	enough := errors.New("enough")
	if err := b.Sweep(t.Context(), func(refresh.Stored, error) error { return enough }, nil); !errors.Is(err, enough) {
		t.Errorf("from a record: %v", err)
	}
	see := func(refresh.Stored, error) error { return nil }
	if err := b.Sweep(t.Context(), see, func() error { return enough }); !errors.Is(err, enough) {
		t.Errorf("from the end of a look: %v", err)
	}
}
