package exchanger

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootTime reads CLOCK_BOOTTIME: it goes on while the machine sleeps and cannot be set.
func bootTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Now().UnixNano() // a kernel older than 2.6.39: the wall clock alone
	}
	return ts.Nano()
}

// readBootID tells boots apart. Without it the wall clock has to.
func readBootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
