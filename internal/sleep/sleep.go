// Package sleep waits for time to pass, and not a moment longer than somebody wants it to.
package sleep

import (
	"context"
	"time"
)

// For waits for d, which may be 0 or less, and reports false when ctx ended first.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
