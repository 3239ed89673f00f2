package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/natstest"
)

// TestThreeSchedulersMakeOneAttemptEachTime: without a leader, and with nobody to tell them, they ask for each refresh once.
func TestThreeSchedulersMakeOneAttemptEachTime(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		const n, hours = 100, 2
		f := newFleet(t, fleetConfig{Schedulers: 3, Workers: 2, Auth: authserver.Config{Latency: 300 * time.Millisecond}})
		for i := range n {
			f.enrol(fmt.Sprintf("user-%03d", i))
		}
		time.Sleep(hours * time.Hour)
		f.settle()
		versions, attempts, without := 0, 0, 0
		for _, s := range f.records() {
			versions += int(s.Record.Version)
		}
		for _, e := range f.ended() {
			if e.Attempt != "" {
				attempts++
				continue
			}
			without++
			t.Logf("ended without an attempt: %s at %v: %s, %s, %v", e.Credential, e.At, e.Decision.Action, e.Decision.Why, e.Err)
		}
		l := f.wantCleanLedger()
		if refreshes := int(l.Refreshes); refreshes != versions-n || refreshes != attempts || int(l.Requests["token"]) != refreshes {
			t.Errorf("%d refreshes of %d requests, %d versions of %d credentials, %d attempts",
				refreshes, l.Requests["token"], versions, n, attempts)
		}
		if attempts < n*hours {
			t.Errorf("%d attempts, want %d at least", attempts, n*hours)
		}
		if told := len(f.told()); told != versions {
			t.Errorf("%d events of %d versions", told, versions)
		}
		t.Logf("%d attempts, %d jobs published, %d ended without an attempt", attempts, len(f.jobs()), without)
	})
}
