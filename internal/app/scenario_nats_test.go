package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
)

// natsFleet has 30 credentials, two workers and a scheduler that are yet to be started, and a slow provider.
func natsFleet(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t, fleetConfig{Auth: authserver.Config{Latency: 2 * time.Second, AccessLifetime: 30 * time.Minute}})
	for i := range natsCredentials {
		f.enrol(fmt.Sprintf("user-%03d", i))
	}
	return f
}

const natsCredentials = 30

func (f *fleet) startAll() {
	f.startWorker("w1")
	f.startWorker("w2")
	f.startScheduler("s1")
}

func TestNATSIsAbsentAtTheStart(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := natsFleet(t)
		f.nats.Stop()
		f.startAll()
		time.Sleep(5 * time.Minute)
		f.wantSaid("waiting for NATS", 1)
		f.must(f.nats.Start())
		time.Sleep(time.Hour)
		f.wantSaid("NATS is here", 1)
		f.wantSaid("started", 1)
		f.wantSaid("NATS is gone", 0)
		f.settle()
		f.judgeLosses(natsCredentials)
	})
}

// TestNATSIsLostInTheMiddle: the connection breaks while a request is at the provider. What comes back is committed,
// whoever has looked at the record meanwhile; nothing is presented that nobody could claim; each loss is said once.
func TestNATSIsLostInTheMiddle(t *testing.T) {
	for _, loss := range []struct {
		name    string
		lasts   time.Duration
		restart bool // the workers, meanwhile
	}{
		{"for less than a claim", 20 * time.Second, false},
		{"for longer than a job waits", 10 * time.Minute, false},
		{"and the workers are started anew", 10 * time.Minute, true},
	} {
		t.Run(loss.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				f := natsFleet(t)
				f.startAll()
				for len(f.asked()) == 0 {
					time.Sleep(time.Second)
				}
				f.nats.Stop()
				asked := len(f.asked())
				time.Sleep(loss.lasts / 2)
				if loss.restart {
					f.workers[0].stop()
					f.workers[1].stop()
					f.startWorker("w1")
					f.startWorker("w2")
				}
				time.Sleep(loss.lasts / 2)
				if now := len(f.asked()); now > asked {
					t.Errorf("%d tokens were presented without a claim", now-asked)
				}
				f.wantSaid("NATS is gone", 1)
				f.must(f.nats.Start())
				time.Sleep(time.Hour)
				if !loss.restart {
					f.wantSaid("NATS is back", 1)
				}
				f.settle()
				f.judgeLosses(natsCredentials)
			})
		})
	}
}

// wantSaid fails the test unless each process has logged a line with this text so often.
func (f *fleet) wantSaid(text string, times int) {
	f.t.Helper()
	for _, process := range []string{"w1", "w2", "s1"} {
		if n := f.logs.count(process, text); n != times {
			f.t.Errorf("%s said %q %d times, want %d", process, text, n, times)
		}
	}
}

// judgeLosses fails the test when anything of n credentials was lost.
func (f *fleet) judgeLosses(n int) {
	f.t.Helper()
	f.wantAllFresh(n)
	versions, told := 0, 0
	for _, s := range f.records() {
		versions += int(s.Record.Version)
	}
	for _, e := range f.told() {
		if e.Type == events.TokenUpdated {
			told++
		}
	}
	l := f.auth.Ledger()
	if versions != n+int(l.Refreshes) || told != versions {
		f.t.Errorf("%d versions of %d credentials, %d refreshes, %d told", versions, n, l.Refreshes, told)
	}
}

// TestNATSForgetsAndStaysAway: its host loses power before the store is synced, and comes back long after that. The workers still
// have what was acknowledged and lost, and put it back before they present anything.
func TestNATSForgetsAndStaysAway(t *testing.T) {
	for name, restart := range map[string]bool{"the workers go on": false, "the workers are started anew": true} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				f := natsFleet(t)
				store, synced := filepath.Join(f.dir, "nats"), filepath.Join(f.dir, "synced")
				f.nats.Stop()
				f.must(os.CopyFS(synced, os.DirFS(store)))
				f.must(f.nats.Start())
				f.startAll()
				for f.auth.Ledger().Refreshes < natsCredentials/2 {
					time.Sleep(time.Second)
				}
				f.nats.Stop()
				f.must(os.RemoveAll(store))
				f.must(os.CopyFS(store, os.DirFS(synced)))
				if restart {
					f.workers[0].stop()
					f.workers[1].stop()
				}
				time.Sleep(10 * time.Minute)
				if restart {
					f.startWorker("w1")
					f.startWorker("w2")
				}
				f.must(f.nats.Start())
				time.Sleep(2 * time.Hour)
				f.wantAllFresh(natsCredentials)
				f.wantCleanLedger()
				f.settle()
			})
		})
	}
}
