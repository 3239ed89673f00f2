package provider

import "time"

// Pause stops refreshes, of one credential or of a whole provider, until somebody lifts it or Until
// has passed. It says who stopped them and why, so that whoever finds the pause knows whom to ask.
type Pause struct {
	By     string    `json:"by"`
	Until  time.Time `json:"until,omitzero"` // zero: until lifted
	Reason string    `json:"reason,omitempty"`
}

// Why programs pause a lane. An operator gives a reason of their own.
const (
	PauseThrottled     = "throttled"     // the provider asked for it (429, Retry-After)
	PauseMisconfigured = "misconfigured" // the provider refuses our client
	PauseRejections    = "rejections"    // so many grants are rejected that the provider must be at fault
)

// Active reports whether the pause still holds at now. A nil Pause holds nothing.
func (p *Pause) Active(now time.Time) bool {
	return p != nil && (p.Until.IsZero() || now.Before(p.Until))
}
