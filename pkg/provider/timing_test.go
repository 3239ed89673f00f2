package provider_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/provider"
)

func seconds(n float64) provider.Duration { return provider.Duration(n * float64(time.Second)) }

func timed(class provider.Rotation, grace, timeout provider.Duration) provider.Definition {
	return provider.Definition{Rotation: class, RotationGrace: grace, Limits: provider.Limits{Timeout: timeout}}
}

func TestTiming(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		d      provider.Definition
		want   time.Duration
		usable bool
	}{
		"nothing declared":              {provider.Definition{}, 20 * time.Second, false},
		"strict":                        {timed(provider.RotationStrict, 0, seconds(8)), 8 * time.Second, false},
		"overlap":                       {timed(provider.RotationOverlap, 0, seconds(8)), 8 * time.Second, false},
		"grace with room":               {timed(provider.RotationGrace, days(1), seconds(20)), 20 * time.Second, true},
		"grace with just enough room":   {timed(provider.RotationGrace, seconds(71), seconds(20)), 20 * time.Second, true},
		"grace that shortens":           {timed(provider.RotationGrace, seconds(30), seconds(20)), 7384 * time.Millisecond, true},
		"the shortest grace":            {timed(provider.RotationGrace, seconds(9.5), seconds(20)), 2 * time.Second, true},
		"grace too short":               {timed(provider.RotationGrace, seconds(9.4), seconds(20)), 20 * time.Second, false},
		"a short timeout in its grace":  {timed(provider.RotationGrace, seconds(10), seconds(1)), time.Second, true},
		"no grace at all":               {timed(provider.RotationGrace, 0, 0), 20 * time.Second, false},
		"grace without end":             {timed(provider.RotationGrace, provider.Never, 0), 20 * time.Second, true},
		"a timeout below the bounds":    {timed("", 0, 1), time.Second, false},
		"a timeout above the bounds":    {timed("", 0, provider.Never), 5 * time.Minute, false},
		"a length without its class":    {timed(provider.RotationStrict, seconds(30), seconds(20)), 20 * time.Second, false},
		"a class of some later version": {timed("later", seconds(30), seconds(20)), 20 * time.Second, false},
	} {
		got := tc.d.Timing()
		if got.Timeout != tc.want || tc.d.GraceUsable() != tc.usable {
			t.Errorf("%s: timeout %v, grace usable %v; want %v, %v", name, got.Timeout, tc.d.GraceUsable(), tc.want, tc.usable)
		}
		checkOrder(t, got)
	}
}

func TestTimingOfTheDefaults(t *testing.T) {
	t.Parallel()
	want := provider.Timing{
		Timeout: 20 * time.Second, ClaimTTL: 25 * time.Second, Quarantine: 20 * time.Second, AckWait: 50 * time.Second,
	}
	if got := (&provider.Definition{}).Timing(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

// checkOrder holds the inequality that the whole protocol stands on.
func checkOrder(t failer, x provider.Timing) {
	t.Helper()
	if !(0 < x.Timeout && x.Timeout < x.ClaimTTL && x.ClaimTTL < x.ClaimTTL+x.Quarantine && x.ClaimTTL+x.Quarantine < x.AckWait) {
		t.Errorf("out of order: %+v", x)
	}
	if x.Quarantine < x.Timeout {
		t.Errorf("the quarantine is shorter than a request: %+v", x)
	}
}

func TestTimingHoldsForEveryDefinition(t *testing.T) {
	t.Parallel()
	classes := []provider.Rotation{
		provider.RotationNone, provider.RotationOverlap, provider.RotationGrace, provider.RotationUntilUsed, provider.RotationStrict, "",
	}
	anyDuration := rapid.OneOf(
		rapid.Int64(), rapid.Int64Range(0, int64(2*time.Minute)), rapid.SampledFrom([]int64{0, 1, int64(provider.Never)}))
	rapid.Check(t, func(t *rapid.T) {
		d := timed(rapid.SampledFrom(classes).Draw(t, "class"), provider.Duration(anyDuration.Draw(t, "grace")),
			provider.Duration(anyDuration.Draw(t, "timeout")))
		got := d.Timing()
		checkOrder(t, got)
		plain := timed("", 0, d.Limits.Timeout)
		declared := plain.Timing().Timeout
		grace := d.RotationGrace.Std()
		switch {
		case got.Timeout > declared:
			t.Errorf("timeout %v is longer than declared, %v", got.Timeout, declared)
		case d.GraceUsable() && grace-got.AckWait < got.Timeout+time.Second:
			t.Errorf("a second try does not fit into %v: %+v", grace, got)
		case d.GraceUsable() && got.Timeout < min(declared, 2*time.Second):
			t.Errorf("timeout %v is too short to be of use", got.Timeout)
		case !d.GraceUsable() && got.Timeout != declared:
			t.Errorf("timeout shortened to %v for nothing", got.Timeout)
		}
	})
}

// TestTimingUsesTheGrace: a longer timeout would not fit, so no room is given away.
func TestTimingUsesTheGrace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		grace := time.Duration(rapid.Int64Range(int64(12500*time.Millisecond), int64(20*time.Minute)).Draw(t, "grace"))
		d := timed(provider.RotationGrace, provider.Duration(grace), seconds(300))
		got := d.Timing()
		more := got.Timeout + 2*time.Millisecond
		if !d.GraceUsable() || got.Timeout < 5*time.Minute && more*9/4+5*time.Second+more+time.Second <= grace {
			t.Errorf("grace %v: timeout %v, usable %v", grace, got.Timeout, d.GraceUsable())
		}
	})
}
