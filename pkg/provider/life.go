package provider

import (
	"maps"
	"slices"
	"time"
)

// RefreshLife is how long grants live, as far as the provider's documentation says more than its answers. Zero fields: not
// known.
type RefreshLife struct {
	Idle     Duration `json:"idle,omitzero"`     // a refresh token ends this long after it was issued or, where it stays the same, last used
	Absolute Duration `json:"absolute,omitzero"` // a grant ends this long after a person agreed, however often it is refreshed
}

// IsZero reports whether nothing is known.
func (l RefreshLife) IsZero() bool { return l == RefreshLife{} }

func (l RefreshLife) check(f *faults) {
	const longest = 20 * 365 * day
	if l.Idle != 0 {
		checkDuration(f, "refresh_life.idle", l.Idle, time.Minute, longest)
	}
	if l.Absolute != 0 {
		checkDuration(f, "refresh_life.absolute", l.Absolute, time.Minute, longest)
	}
	if l.Idle != 0 && l.Absolute != 0 && l.Idle > l.Absolute {
		f.add("refresh_life.idle", "%s is longer than absolute, %s", l.Idle, l.Absolute)
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
