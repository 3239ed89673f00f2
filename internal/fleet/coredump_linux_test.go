package fleet_test

import (
	"fmt"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// What holds keys leaves no core dump.
func TestAWorkerLeavesNoCoreDump(t *testing.T) {
	t.Parallel()
	ctx := within(t, 30*time.Second)
	f := start(ctx, t, strict(10*time.Second, 4*time.Second))
	var limit syscall.Rlimit // what the worker would inherit
	must(t, syscall.Getrlimit(syscall.RLIMIT_CORE, &limit))
	limit.Cur = limit.Max
	must(t, syscall.Setrlimit(syscall.RLIMIT_CORE, &limit))
	w := worker(ctx, t, f, "worker-1")
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.ID()))
	must(t, err)
	if !regexp.MustCompile(`(?m)^Max core file size +0 `).Match(limits) {
		t.Errorf("its limits:\n%s", limits)
	}
	stop(ctx, t, w, workerStopped)
}
