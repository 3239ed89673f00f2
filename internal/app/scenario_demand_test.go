package app_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// demanded is what became of a demand.
type demanded struct {
	event events.Event
	err   error
}

// demand asks for a version above newerThan, for at most ten minutes, and hands out what came of it.
func (f *fleet) demand(c events.Credential, newerThan uint64) <-chan demanded {
	done := make(chan demanded, 1)
	go func() {
		ctx, cancel := context.WithTimeout(f.ctx, 10*time.Minute)
		defer cancel()
		e, err := app.Demand(ctx, f.Broker, c, refresh.Job{Reason: events.ReasonDemand, NewerThan: newerThan})
		done <- demanded{e, err}
	}()
	return done
}

func TestDemandIsAnsweredByTheNewVersion(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{Workers: 1})
		alice, bob := f.enrol("alice"), f.enrol("bob")
		got := <-f.demand(alice, 1)
		if got.err != nil || got.event.Type != events.TokenUpdated || got.event.Data.Version != 2 || got.event.Data.Reason != events.ReasonDemand {
			t.Errorf("got %+v, %v", got.event, got.err)
		}
		if v := f.record(bob).Record.Version; v != 1 {
			t.Errorf("bob, for whom nobody asked, is at version %d", v)
		}
		// A reader that comes late with an old version hears of the newer one; nothing is presented for it.
		if got := <-f.demand(alice, 1); got.err != nil || got.event.Data.Version != 2 {
			t.Errorf("the late reader got %+v, %v", got.event, got.err)
		}
		if l := f.wantCleanLedger(); l.Refreshes != 1 {
			t.Errorf("%d refreshes, want 1", l.Refreshes)
		}
	})
}

// TestDemandOutlivesAJobThatAsksForLess: the queue holds one job per credential, and not always the one that is needed.
func TestDemandOutlivesAJobThatAsksForLess(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{})
		alice := f.enrol("alice")
		f.must(f.PublishJob(f.ctx, alice.Key(), refresh.Job{Reason: events.ReasonScheduled, NewerThan: 0}, ""))
		answer := f.demand(alice, 1)
		time.Sleep(time.Minute)
		f.startWorker("w1")
		if got := <-answer; got.err != nil || got.event.Data.Version != 2 {
			t.Errorf("got %+v, %v", got.event, got.err)
		}
		f.settle()
		if ends := f.ended(); len(ends) < 2 || ends[0].Attempt != "" {
			t.Errorf("jobs ended: %+v", ends)
		}
	})
}

func TestDemandIsAnsweredByAFailure(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{Workers: 1})
		alice := f.enrol("alice")
		f.must(f.auth.SetFaults([]authserver.Fault{{Kind: authserver.FaultError, Code: "temporarily_unavailable"}}))
		got := <-f.demand(alice, 1)
		var failed *app.FailedError
		if !errors.As(got.err, &failed) {
			t.Fatalf("got %+v, %v", got.event, got.err)
		}
		next := f.record(alice).Record.RefreshAt
		if failed.Credential != alice || failed.Class != "transient" || failed.Code != "temporarily_unavailable" || !failed.NextAt.Equal(next) {
			t.Errorf("got %+v, want a next try at %v", failed, next)
		}
	})
}

// TestDemandIsAnsweredByThePersonItNeeds: at the provider's first word the demand failed; once it is confirmed every
// further demand hears that a person must act, and nothing is presented for it.
func TestDemandIsAnsweredByThePersonItNeeds(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{Workers: 1, Schedulers: 1})
		alice := f.enrol("alice")
		f.auth.Revoke("alice")
		var failed *app.FailedError
		if got := <-f.demand(alice, 1); !errors.As(got.err, &failed) || failed.Class != string(refresh.ClassRejected) {
			t.Errorf("got %+v, %v", got.event, got.err)
		}
		time.Sleep(15 * time.Minute) // the second word is asked for
		asked := len(f.asked())
		for range 2 {
			if got := <-f.demand(alice, 1); !errors.Is(got.err, app.ErrReauthRequired) {
				t.Errorf("got %+v, %v", got.event, got.err)
			}
		}
		if s := f.record(alice).Record.State; s != refresh.StateReauthRequired || len(f.asked()) != asked {
			t.Errorf("%s, %d requests more", s, len(f.asked())-asked)
		}
	})
}

func TestDemandIsAnsweredByTheEndOfTheCredential(t *testing.T) {
	for _, state := range []refresh.State{refresh.StateDeleted, refresh.StateRevoked} {
		t.Run(string(state), func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				f := newFleet(t, fleetConfig{})
				alice := f.enrol("alice")
				answer := f.demand(alice, 1)
				time.Sleep(time.Minute)
				_, err := f.writer.Tombstone(f.ctx, alice, state)
				f.must(err)
				if got := <-answer; !errors.Is(got.err, refresh.ErrNotFound) {
					t.Errorf("got %+v, %v", got.event, got.err)
				}
			})
		})
	}
}

func TestDemandEndsWithItsContext(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{})
		begun := time.Now()
		if got := <-f.demand(f.enrol("alice"), 1); !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("got %+v, %v", got.event, got.err)
		}
		if took := time.Since(begun); took != 10*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

func TestDemandForAProviderThatNobodyApplied(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{})
		got := <-f.demand(events.Credential{Provider: "nobody", Account: "alice"}, 1)
		if !errors.Is(got.err, broker.ErrUnknownProvider) {
			t.Errorf("got %+v, %v", got.event, got.err)
		}
	})
}
