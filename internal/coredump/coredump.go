//go:build unix

// Package coredump keeps the memory of processes that hold keys off the disk.
//
// # Model
//
// A crash may leave a core dump: everything a process had in memory, keys and tokens included, in a file or in the hands of whatever program
// the system runs for it. Never is for processes that start no others. Hide is for those that do: it leaves their children what
// they had. On Linux either also keeps other processes of the same user from attaching to this one, or reading its environment
// and memory below /proc; those of root may.
//
// Concurrency: both concern the whole process, once, at its start.
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
