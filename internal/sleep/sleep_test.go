package sleep_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
)

func TestFor(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		wait, ends  time.Duration // ends: of the context; 0: never
		want        bool
		wantElapsed time.Duration
	}{
		{"all of it", time.Hour, 0, true, time.Hour},
		{"nothing", 0, 0, true, 0},
		{"less than nothing", -time.Hour, 0, true, 0},
		{"until the context ends", time.Hour, time.Minute, false, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.ends > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.ends)
					defer cancel()
				}
				begun := time.Now()
				if got := sleep.For(ctx, tt.wait); got != tt.want || time.Since(begun) != tt.wantElapsed {
					t.Errorf("%t after %v, want %t after %v", got, time.Since(begun), tt.want, tt.wantElapsed)
				}
			})
		})
	}
}
