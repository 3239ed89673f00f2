package provider_test

import (
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
)

func TestParseCron(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // a Friday
	for spec, want := range map[string]string{
		"0 3 * * *":                          "2026-01-03T03:00:00Z",
		" */15 * * * * ":                     "2026-01-02T03:15:00Z",
		"30 4 * * mon":                       "2026-01-05T04:30:00Z",
		"0 0 29 2 *":                         "2028-02-29T00:00:00Z",
		"CRON_TZ=America/New_York 0 3 * * *": "2026-01-02T08:00:00Z",
		"TZ=Asia/Tokyo 0 3 * * *":            "2026-01-02T18:00:00Z",
		"@daily":                             "2026-01-03T00:00:00Z",
		"@every 1m":                          "2026-01-02T03:05:05Z",
	} {
		s, err := provider.ParseCron(spec)
		if err != nil {
			t.Errorf("%q: %v", spec, err)
			continue
		}
		if got := s.Next(from).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%q: next %s, want %s", spec, got, want)
		}
	}
}

func TestParseCronRefuses(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"":                          "empty spec string",
		"0 3 * *":                   "expected exactly 5 fields",
		"0 0 3 * * *":               "expected exactly 5 fields",
		"60 3 * * *":                "above maximum",
		"CRON_TZ=Europe/Berlin":     "nothing follows the time zone",
		"TZ=0":                      "nothing follows the time zone",
		"CRON_TZ=Nowhere 0 3 * * *": "bad location",
		"@every 59s":                "more often than every 1m",
		"@every 0s":                 "more often than every 1m",
		"@reboot":                   "unrecognized descriptor",
		"0 0 30 2 *":                "there is no such day",
	} {
		if _, err := provider.ParseCron(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", spec, err, want)
		}
	}
}

func FuzzParseCron(f *testing.F) {
	for _, spec := range []string{"0 3 * * *", "TZ=0", "CRON_TZ=Europe/Berlin 1-5/2 * * * mon,tue", "@every 1h", "TZ= *", "@", "0 0 31 4 ?"} {
		f.Add(spec)
	}
	from := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := provider.ParseCron(spec)
		if err != nil {
			return
		}
		if next := s.Next(from); !next.After(from) {
			t.Fatalf("%q: next after %v is %v", spec, from, next)
		}
	})
}
