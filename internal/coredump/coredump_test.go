//go:build linux

package coredump_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshetdev/freshet/internal/coredump"
)

func TestNeverTurnsCoreDumpsOff(t *testing.T) { // not parallel: it is about the process
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 1 {
		t.Fatalf("at the start: dumpable %d, %v", dumpable, err)
	}
	var before, after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	if err := coredump.Never(); err != nil {
		t.Fatal(err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable %d, %v", dumpable, err)
	}
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &after); err != nil || after.Cur != 0 || after.Max != before.Max {
		t.Errorf("limit %+v, was %+v, %v", after, before, err)
	}
}
