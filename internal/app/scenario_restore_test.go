package app_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/backup"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// TestAnOldBackupReplaysNothing: some refresh tokens of a backup were spent after it was taken. None of them is presented while there
// is anything to lose; whoever did not rotate goes on; the others are found out; numbers only grow; who was removed stays so.
func TestAnOldBackupReplaysNothing(t *testing.T) {
	for _, tt := range []struct {
		name          string
		introspection bool
		eventsLost    bool
	}{
		{name: "the events survived"},
		{name: "the events are lost", eventsLost: true},
		{name: "the provider can be asked", introspection: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				f := newFleet(t, fleetConfig{Workers: 2, Schedulers: 1, Auth: authserver.Config{
					Lifetime: quickAndSlow, IntrospectRefresh: tt.introspection,
				}})
				for _, account := range restoredAccounts() {
					f.enrol(account)
				}
				time.Sleep(time.Minute)
				dir := filepath.Join(t.TempDir(), "backup")
				_, err := backup.Take(f.ctx, f.Broker, dir, nil)
				f.must(err)
				f.remove("removed")
				time.Sleep(24 * time.Minute) // the quick ones have rotated, and what they had still lives
				f.settle()
				before, asked := f.records(), len(f.asked())
				f.lose(f.Names().TokensStream(), f.Names().ProvidersStream())
				if tt.eventsLost {
					f.lose(f.Names().EventsStream())
				}
				f.restoreFrom(dir)
				f.judgeMarks(tt.eventsLost)
				f.startWorker("w3")
				f.startScheduler("s2")
				time.Sleep(3 * time.Minute)
				if n := len(f.asked()) - asked; n > 0 && !tt.introspection {
					t.Errorf("%d refresh tokens were presented while there was something to lose", n)
				}
				time.Sleep(4 * time.Hour)
				f.settle()
				f.judgeRestored(before)
			})
		})
	}
}

func restoredAccounts() []string {
	return []string{"quick-1", "quick-2", "quick-3", "slow-1", "slow-2", "removed"}
}

// quickAndSlow lets the first access tokens of some accounts live for half an hour, of all others for three hours.
func quickAndSlow(account string, _ int) time.Duration {
	if strings.HasPrefix(account, "quick") {
		return 30 * time.Minute
	}
	return 3 * time.Hour
}

func (f *fleet) remove(account string) {
	f.t.Helper()
	_, err := f.writer.Tombstone(f.ctx, events.Credential{Provider: "acme", Account: account}, refresh.StateDeleted)
	f.must(err)
}

// lose deletes streams, as a disk that is gone does.
func (f *fleet) lose(streams ...string) {
	f.t.Helper()
	for _, name := range streams {
		f.must(f.JetStream().DeleteStream(f.ctx, name))
	}
	_, err := f.Setup(f.ctx, broker.SetupConfig{})
	f.must(err)
}

// restoreFrom restores a backup; it is cut off once, goes on, and is run once more in vain.
func (f *fleet) restoreFrom(dir string) {
	f.t.Helper()
	m, err := backup.ReadManifest(dir)
	f.must(err)
	scratch := f.scratch()
	f.must(backup.Open(f.ctx, m, dir, scratch))
	ctx, cut := context.WithCancel(f.ctx)
	defer cut()
	cfg := backup.Config{Manifest: m, From: scratch, To: f.Broker, Grant: f.grant, Access: f.access, AtOnce: 1, Progress: func(n backup.Counts) {
		if n.Records == 2 {
			cut()
		}
	}}
	if _, err = backup.Run(ctx, cfg); !errors.Is(err, context.Canceled) {
		f.t.Errorf("cut off: %v", err)
	}
	cfg.Progress = nil
	n, err := backup.Run(f.ctx, cfg)
	if err != nil || n.Bad > 0 || n.Records != len(restoredAccounts()) {
		f.t.Errorf("restored %+v, %v", n, err)
	}
	first := f.records()
	if _, err = backup.Run(f.ctx, cfg); err != nil {
		f.t.Error(err)
	}
	for key, s := range f.records() {
		if s.Revision != first[key].Revision {
			f.t.Errorf("%s was restored twice", key)
		}
	}
}

// scratch is a broker on a server of its own.
func (f *fleet) scratch() *broker.Broker {
	f.t.Helper()
	own := &fleet{t: f.t, ctx: f.ctx, nats: natstest.Run(f.t, natstest.Options{})}
	b, err := broker.New(own.connect(zerolog.Nop()), broker.Config{})
	f.must(err)
	return b
}

// judgeMarks looks at what was restored before anybody works with it.
func (f *fleet) judgeMarks(eventsLost bool) {
	f.t.Helper()
	all := f.records()
	if len(all) != len(restoredAccounts()) {
		f.t.Errorf("%d records restored", len(all))
	}
	for key, s := range all {
		r := s.Record
		if r.Account == "removed" && !eventsLost {
			if r.State != refresh.StateDeleted || len(r.Grant) > 0 {
				f.t.Errorf("%s came back as %s", key, r.State)
			}
			continue
		}
		if r.Doubt == nil || r.Doubt.Attempt != "restore" || !r.Doubt.Restored || r.State != refresh.StateUncertain || r.Claim != nil {
			f.t.Errorf("%s is not marked: %s, doubt %+v", key, r.State, r.Doubt)
		}
	}
}

// judgeRestored looks at the end of it all; before is what was lost.
func (f *fleet) judgeRestored(before map[string]refresh.Stored) {
	f.t.Helper()
	for key, s := range f.records() {
		r, was := s.Record, before[key].Record
		want := refresh.StateActive
		switch {
		case strings.HasPrefix(r.Account, "quick"):
			want = refresh.StateReauthRequired
		case r.Account == "removed":
			want = r.State // decided by what the events tell
		}
		if r.State != want {
			f.t.Errorf("%s ended as %s (doubt %+v), want %s", key, r.State, r.Doubt, want)
		}
		if r.Generation <= was.Generation || want == refresh.StateActive && r.Version <= was.Version {
			f.t.Errorf("%s went from (%d, %d) to (%d, %d)", key, was.Generation, was.Version, r.Generation, r.Version)
		}
	}
	l := f.auth.Ledger()
	if l.Replayed != 0 || l.LastTries == 0 || l.Concurrent != 0 {
		f.t.Errorf("replayed %d, last tries %d, concurrent %d: %+v", l.Replayed, l.LastTries, l.Concurrent, l.Anomalies)
	}
}

// TestAWorkerThatRanBeforeTheRestore: it found no record and set its newest answer aside. After the restore, at its next start, it looks
// at it once more.
func TestAWorkerThatRanBeforeTheRestore(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{Auth: authserver.Config{}})
		alice := f.enrol("alice")
		dir := filepath.Join(t.TempDir(), "backup")
		_, err := backup.Take(f.ctx, f.Broker, dir, nil)
		f.must(err)
		w := f.startWorker("w1")
		f.demandUntil(alice, f.record(alice).Record.Version+1)
		newest := f.record(alice).Record.Version
		w.stop()
		f.lose(f.Names().TokensStream(), f.Names().ProvidersStream())
		f.apply(f.definition("acme", nil))

		w = f.startWorker("w1")
		time.Sleep(time.Minute)
		f.settle()
		w.stop()
		m, err := backup.ReadManifest(dir)
		f.must(err)
		scratch := f.scratch()
		f.must(backup.Open(f.ctx, m, dir, scratch))
		n, err := backup.Run(f.ctx, backup.Config{Manifest: m, From: scratch, To: f.Broker, Grant: f.grant, Access: f.access})
		if f.must(err); n.Records != 1 {
			t.Fatalf("restored %+v", n)
		}

		f.startWorker("w1")
		time.Sleep(time.Minute)
		f.settle()
		if r := f.record(alice).Record; r.State != refresh.StateActive || r.Doubt != nil || r.Version != newest {
			t.Errorf("%s at version %d of %d, doubt %+v", r.State, r.Version, newest, r.Doubt)
		}
		f.wantCleanLedger()
	})
}
