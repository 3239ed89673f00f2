package provider

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// minEvery is the shortest @every; the five-field form knows no shorter step either.
const minEvery = time.Minute

// ParseCron reads the schedule of a forced refresh: five fields (minute, hour, day of month, month, day of week), or
// @hourly, @daily, @weekly, @monthly, @yearly, @every DURATION. A leading "CRON_TZ=Europe/Berlin " names the
// time zone; without one the zone is that of the time given to Next. What never fires is refused.
func ParseCron(spec string) (cron.Schedule, error) {
	spec = strings.TrimSpace(spec)
	zoned := strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=")
	if zoned && !strings.Contains(spec, " ") { // cron v3.0.1 panics here
		return nil, fmt.Errorf("schedule %q: nothing follows the time zone", spec)
	}
	s, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w", spec, err)
	}
	if every, ok := s.(cron.ConstantDelaySchedule); ok && every.Delay < minEvery {
		return nil, fmt.Errorf("schedule %q: more often than every %s", spec, Duration(minEvery))
	}
	// Any day does for a reference: Next looks far enough ahead for a 29 February.
	if s.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, fmt.Errorf("schedule %q: %w", spec, errNeverFires)
	}
	return s, nil
}

var errNeverFires = errors.New("there is no such day")
