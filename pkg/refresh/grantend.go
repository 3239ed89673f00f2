package refresh

import (
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
)

// GrantEnd is when a grant ends, seen from a token that was issued at issuedAt: what the answer named (0: nothing), else as
// long as the provider is known to keep an idle refresh token, and never later than its grants live since a person agreed
// at grantedAt (zero: not known). Zero: no end is known.
func GrantEnd(life provider.RefreshLife, grantedAt, issuedAt time.Time, named time.Duration) time.Time {
	var end time.Time
	switch {
	case named > 0:
		end = issuedAt.Add(named)
	case life.Idle > 0:
		end = issuedAt.Add(life.Idle.Std())
	}
	if life.Absolute == 0 || grantedAt.IsZero() {
		return end
	}
	if last := grantedAt.Add(life.Absolute.Std()); end.IsZero() || last.Before(end) {
		return last
	}
	return end
}
