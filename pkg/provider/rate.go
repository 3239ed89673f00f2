package provider

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of events per second; people write "50/s", "600/m" or "1000/h".
type Rate float64

// rateUnits are the units of a rate with their lengths in seconds, shortest first.
func rateUnits() []rateUnit { return []rateUnit{{"s", 1}, {"m", 60}, {"h", 3600}} }

type rateUnit struct {
	name    string
	seconds float64
}

// IsZero reports whether there is no limit.
func (r Rate) IsZero() bool { return r == 0 }

// String writes the rate in the shortest unit that shows it as a whole number, else per second.
// UnmarshalText reads it back.
func (r Rate) String() string {
	const rounding = 1e-9 // what dividing by the unit and multiplying again may lose
	for _, u := range rateUnits() {
		n := float64(r) * u.seconds
		if whole := math.Round(n); whole >= 1 && math.Abs(n-whole) < whole*rounding {
			return strconv.FormatFloat(whole, 'f', -1, 64) + "/" + u.name
		}
	}
	return strconv.FormatFloat(float64(r), 'g', -1, 64) + "/s"
}

// MarshalText implements encoding.TextMarshaler.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "NUMBER/s", "NUMBER/m" or "NUMBER/h", the number above zero.
func (r *Rate) UnmarshalText(text []byte) error {
	number, unit, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseFloat(number, 64)
	for _, u := range rateUnits() {
		if rate := n / u.seconds; err == nil && unit == u.name && rate > 0 && !math.IsInf(rate, 0) {
			*r = Rate(rate)
			return nil
		}
	}
	return fmt.Errorf("rate %q: want a number per second, minute or hour, such as 50/s or 600/m", text)
}

// LaneRate is the member of a lane's metadata (the consumer's, on NATS) that repeats the provider's rate. Who may ask for
// refreshes but not read definitions finds it there. Absent: no rate.
const LaneRate = "freshet.rate"

// Slot returns the id of the rate slot of a provider that now, in NATS time, lies in, and when the next slot begins. Slots are
// as long as one job takes of the rate; each takes one job, so that whoever publishes under its id keeps the rate over
// the fleet. The rate must be above 0.
func (r Rate) Slot(provider string, now time.Time) (id string, next time.Time) {
	length := r.SlotLength().Nanoseconds()
	slot := now.UnixNano() / length
	return provider + ":" + strconv.FormatInt(slot, 10), time.Unix(0, (slot+1)*length)
}

// SlotLength is the time one job takes of the rate: whole nanoseconds, rounded up, at most a year.
func (r Rate) SlotLength() time.Duration {
	const year = 365 * 24 * time.Hour
	return time.Duration(max(1, min(math.Ceil(float64(time.Second)/float64(r)), float64(year))))
}
