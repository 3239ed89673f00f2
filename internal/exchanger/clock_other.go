//go:build !linux

package exchanger

import "time"

// bootTime is the wall clock where no other is known to be shared by processes. What remains against a clock that is set
// back is the exchanger's own monotonic clock, from the receipt of a request on.
func bootTime() int64 { return time.Now().UnixNano() }

func readBootID() string { return "" }
