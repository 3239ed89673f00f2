//go:build unix

package coredump

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Never makes this process, and those that it starts, leave no core dump. It lowers the soft limit alone, which only who asks
// for it raises again.
func Never() error {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	if err == nil {
		limit.Cur = 0
		err = unix.Setrlimit(unix.RLIMIT_CORE, &limit)
	}
	if err != nil {
		err = fmt.Errorf("turn off core dumps: %w", err)
	}
	return errors.Join(err, Hide())
}
