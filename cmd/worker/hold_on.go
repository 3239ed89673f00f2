//go:build freshet_faults

package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// holdAt makes a worker stand still at a step, for the reliability tests: FRESHET_HOLD_STEP names it, FRESHET_HOLD_NTH says
// at which time it is reached (default 1). The attempt then says "held at STEP" on stderr and goes on after a SIGUSR1. Everything
// else in the process runs on.
func holdAt() func(refresh.Step) {
	step := refresh.Step(os.Getenv("FRESHET_HOLD_STEP"))
	if step == "" {
		return nil
	}
	nth, err := strconv.ParseInt(os.Getenv("FRESHET_HOLD_NTH"), 10, 64)
	if err != nil {
		nth = 1
	}
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGUSR1)
	var reached atomic.Int64
	return func(s refresh.Step) {
		if s == step && reached.Add(1) == nth {
			fmt.Fprintf(os.Stderr, `{"message":"held at %s"}`+"\n", s)
			<-goOn
		}
	}
}
