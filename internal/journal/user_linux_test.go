package journal_test

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// asOrdinaryUser calls f without the rights of root, should the test have them, as the owner of dir.
func asOrdinaryUser(t *testing.T, dir string, f func()) {
	t.Helper()
	const nobody = 65534
	if os.Geteuid() != 0 {
		f()
		return
	}
	must(t, os.Chown(dir, nobody, nobody))
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := syscall.Setfsuid(nobody)
		f()
		done <- err
	}()
	must(t, <-done)
}
