package app_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// TestDemandThatNobodyCanMeetFailsAtOnce: there is no worker here, and nobody waits for one.
func TestDemandThatNobodyCanMeetFailsAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	change := func(c events.Credential, change func(*refresh.Record)) events.Credential {
		s := f.record(c)
		change(&s.Record)
		_, err := f.Put(f.ctx, refresh.Write{Record: s.Record, Revision: s.Revision})
		f.must(err)
		return c
	}
	paused := f.enrol("paused")
	_, err := f.writer.SetPaused(f.ctx, paused, &provider.Pause{By: "operator:ann"})
	f.must(err)
	broken := f.enrol("broken")
	_, err = f.JetStream().Publish(f.ctx, f.Names().RecordSubject(broken), []byte("{"))
	f.must(err)
	accessOnly := f.enrolFrom(f.auth, f.acme, "access-only", func(g *enroll.NewGrant) { g.RefreshToken = seal.Secret{} })
	for name, c := range map[string]struct {
		credential events.Credential
		err        error
		says       string
	}{
		"without a refresh token": {accessOnly, app.ErrReauthRequired, "acme/access-only has no refresh token"},
		"without a grant": {change(f.enrol("no-grant"), func(r *refresh.Record) { r.Grant = nil }),
			app.ErrReauthRequired, "acme/no-grant has no refresh token"},
		"waiting for a person": {change(f.enrol("reauth"), func(r *refresh.Record) { r.State = refresh.StateReauthRequired }),
			app.ErrReauthRequired, "freshet login acme/reauth"},
		"paused":         {paused, app.ErrPaused, "by operator:ann"},
		"not to be read": {broken, refresh.ErrMalformed, "acme/broken"},
		"unknown":        {events.Credential{Provider: "acme", Account: "nobody"}, refresh.ErrNotFound, "acme/nobody"},
	} {
		_, err := app.Demand(t.Context(), f.Broker, c.credential, refresh.Job{Reason: events.ReasonDemand, NewerThan: 1})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q and %q in it", name, err, c.err, c.says)
		}
	}
}

func TestDemandThatNobodyAnswersSaysHowLongItWaited(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	alice := f.enrol("alice")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := app.Demand(ctx, f.Broker, alice, refresh.Job{Reason: events.ReasonDemand, NewerThan: 1})
	var unanswered *app.NoAnswerError
	if !errors.As(err, &unanswered) || !errors.Is(err, context.DeadlineExceeded) || unanswered.Credential != alice ||
		!strings.Contains(err.Error(), "is a worker running") {
		t.Errorf("error %v: want whose demand it was, and what to look for", err)
	}
}
