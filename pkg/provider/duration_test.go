package provider_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/provider"
)

func TestDurationReads(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "15m": 15 * time.Minute, "1h30m": 90 * time.Minute, "90d": 90 * 24 * time.Hour,
		"1.5d": 36 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "0s": 0, "0d": 0, "250ms": 250 * time.Millisecond,
		"never": math.MaxInt64,
	} {
		var d provider.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%q: %v, %v; want %v", text, d.Std(), err, want)
		}
	}
}

func TestDurationRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "20", "20 s", "-5s", "-1d", "d", "xd", "NaNd", "Infd", "1e9d", "1d-1h", "1d24h", "1d1d", "1w", "Never", "1d 2h", "99999999h",
	} {
		d := provider.Duration(7)
		err := d.UnmarshalText([]byte(text))
		if err == nil || d != 7 {
			t.Errorf("%q: read %v, %v", text, d, err)
		}
	}
	var d provider.Duration
	const want = `duration "20": want a number with a unit, such as 30s, 15m, 12h or 90d`
	if err := d.UnmarshalText([]byte("20")); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestDurationPrints(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * 24 * time.Hour: "90d", 36 * time.Hour: "36h", time.Hour: "1h", 15 * time.Minute: "15m",
		90 * time.Second: "1m30s", 10 * time.Second: "10s", time.Hour + time.Second: "1h0m1s", math.MaxInt64: "never",
	} {
		if got := provider.Duration(d).String(); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

func TestDurationRoundTrip(t *testing.T) {
	t.Parallel()
	const most = 100_000 * 24 * time.Hour
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]time.Duration{1, time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "unit")
		d := provider.Duration(rapid.Int64Range(0, int64(most/unit)).Draw(t, "count") * int64(unit))
		text, err := d.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back provider.Duration
		if err := back.UnmarshalText(text); err != nil || back != d {
			t.Fatalf("%d is %s is %d, %v", d, text, back, err)
		}
	})
}

func TestRateReads(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]provider.Rate{"50/s": 50, "600/m": 10, "3600/h": 1, "0.5/s": 0.5, "1e2/s": 100} {
		var r provider.Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%q: %v, %v; want %v", text, float64(r), err, float64(want))
		}
	}
	for _, text := range []string{"", "50", "50/d", "/s", "0/s", "-1/s", "NaN/s", "Inf/s", "5e-324/h", "50/s/s", "50 /s"} {
		r := provider.Rate(7)
		if err := r.UnmarshalText([]byte(text)); err == nil || r != 7 {
			t.Errorf("%q: read %v, %v", text, float64(r), err)
		}
	}
}

func TestRatePrints(t *testing.T) {
	t.Parallel()
	for r, want := range map[provider.Rate]string{
		50: "50/s", 0.5: "30/m", 1.0 / 3600: "1/h", 1000.0 / 3600: "1000/h", 10: "10/s", 1e-10: "1e-10/s", 1.5: "90/m",
	} {
		if got := r.String(); got != want {
			t.Errorf("%v: %s, want %s", float64(r), got, want)
		}
	}
}

func TestRateRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := provider.Rate(rapid.Float64Range(1e-12, 1e12).Draw(t, "rate"))
		text, err := r.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back provider.Rate
		if err := back.UnmarshalText(text); err != nil || math.Abs(float64(back/r)-1) > 1e-8 {
			t.Fatalf("%v is %s is %v, %v", float64(r), text, float64(back), err)
		}
	})
}
