package coredump

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Hide makes this process undumpable, and not those that it starts (PR_SET_DUMPABLE(2const)). A limit alone would not keep it from a
// program that takes core dumps through a pipe (core(5)).
func Hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("turn off core dumps: %w", err)
	}
	return nil
}
