package provider

import (
	"fmt"
	"math"
	"strconv"
	"strings"
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
