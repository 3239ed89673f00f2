package provider

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that people write with days ("90d", "1d12h") and that may be "never".
type Duration time.Duration

// Never is the duration without an end.
const Never = Duration(math.MaxInt64)

const day = 24 * time.Hour

// Std returns d as a time.Duration. Never is the longest there is, about 292 years.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// IsZero reports whether d is not set.
func (d Duration) IsZero() bool { return d == 0 }

// String writes d as people do: "90d", "15m", "1h30m", "never". UnmarshalText reads it back.
func (d Duration) String() string {
	switch t := time.Duration(d); {
	case d == Never:
		return "never"
	case t != 0 && t%day == 0:
		return strconv.FormatInt(int64(t/day), 10) + "d"
	default:
		return trimZeros(t.String())
	}
}

// trimZeros turns 1h0m0s into 1h.
func trimZeros(s string) string {
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "90d", "1d12h", "never" or what time.ParseDuration takes. Negative durations are refused.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "never" {
		*d = Never
		return nil
	}
	t, ok := parseDuration(s)
	if !ok {
		return fmt.Errorf("duration %q: want a number with a unit, such as 30s, 15m, 12h or 90d", s)
	}
	*d = Duration(t)
	return nil
}

// parseDuration reads days, then what time.ParseDuration takes; either may be missing, not both.
func parseDuration(s string) (time.Duration, bool) {
	days, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		t, err := time.ParseDuration(s)
		return t, err == nil && t >= 0
	}
	const most = 100_000 // 273 years; more would overflow
	n, err := strconv.ParseFloat(days, 64)
	if err != nil || !(n >= 0 && n <= most) { // so written, NaN is out too
		return 0, false
	}
	t := time.Duration(n * float64(day))
	if rest == "" {
		return t, true
	}
	more, err := time.ParseDuration(rest)
	return t + more, err == nil && more >= 0 && more < day
}
