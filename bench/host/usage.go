package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is what the kernel counts processor time in: USER_HZ, 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// CPU is the processor time that the processes and their children have used, in steps of 10 ms. A process that is gone
// counts nothing.
func CPU(pids ...int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		sum += cpuOf(pid)
		for _, child := range children(pid) {
			sum += cpuOf(child)
		}
	}
	return sum
}

// cpuOf adds up utime, stime, cutime and cstime of proc_pid_stat(5).
func cpuOf(pid int) time.Duration {
	f := stat(pid)
	if len(f) < 15 {
		return 0
	}
	var sum time.Duration
	for _, field := range f[11:15] {
		n, _ := strconv.Atoi(field) // the kernel's own
		sum += time.Duration(n) * tick
	}
	return sum
}

// stat returns the fields of /proc/PID/stat from the state on: what comes before may hold blanks.
func stat(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.Fields(rest)
}

// children are the processes that pid has started: PostgreSQL has one for each connection.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is good
	for _, list := range lists {
		data, _ := os.ReadFile(list) // gone: it has none
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// RSS is the resident set of a process in bytes, 0 when it is gone.
func RSS(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64) // the kernel's own
	return pages * int64(os.Getpagesize())
}

// PeakRSS is the most that a process has had resident, in bytes.
func PeakRSS(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
