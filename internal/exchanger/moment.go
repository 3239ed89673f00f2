package exchanger

import (
	"math"
	"time"
)

// moment is an instant by the two clocks that the processes of a host share. The wall clock may be set, the one since
// boot starts again with each boot.
type moment struct {
	Wall   int64  `json:"wall"`              // nanoseconds since 1970
	Boot   int64  `json:"boot"`              // nanoseconds since boot, sleep included
	BootID string `json:"boot_id,omitempty"` // which boot
}

// clock reads both clocks.
type clock struct{ bootID string }

func newClock() clock { return clock{bootID: readBootID()} }

func (c clock) now() moment {
	return moment{Wall: time.Now().UnixNano(), Boot: bootTime(), BootID: c.bootID}
}

func (m moment) plus(d time.Duration) moment {
	m.Wall += int64(d)
	m.Boot += int64(d)
	return m
}

// left is the time from now to m by the clock on which it is shorter. An instant of another boot is past.
func (m moment) left(now moment) time.Duration {
	if m.BootID != now.BootID {
		return math.MinInt64
	}
	return time.Duration(min(m.Wall-now.Wall, m.Boot-now.Boot))
}

// passed asks the clock since boot alone: once true it stays true.
func (m moment) passed(now moment) bool { return m.BootID != now.BootID || now.Boot >= m.Boot }

// apart is how much the two clocks disagree about the time from now to m.
func (m moment) apart(now moment) time.Duration {
	return time.Duration((m.Wall - now.Wall) - (m.Boot - now.Boot)).Abs()
}

// valid keeps the differences above from overflowing.
func (m moment) valid() bool { return m.Wall >= 0 && m.Boot >= 0 }
