package evidence

import (
	"errors"
	"fmt"
	"slices"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// fate is what must have become of a case.
type fate struct {
	// doubted: the record becomes uncertain, and an event says so within flagWithin.
	doubted bool
	// settled: the attempt's outcome is in the record in the end: a version more, active.
	settled bool
	// lost: the grant is gone. Never without doubted.
	lost bool
	// aside: a reply that came too late is kept sealed in its author's journal.
	aside bool
	// presented is how often the refresh token reached the provider's token endpoint until then.
	presented int
}

// word is the fate in the matrix.
func (f fate) word() string {
	switch {
	case f.lost:
		return "LOSS"
	case f.doubted && f.settled:
		return "late"
	case f.doubted:
		return "doubt"
	case f.presented > 1:
		return "again"
	}
	return "ok"
}

// after reports whether the attempt is held at that step or past it.
func (c crashCase) after(step refresh.Step) bool {
	return slices.Index(refresh.Steps(), c.step) >= slices.Index(refresh.Steps(), step)
}

// expect says what the design's tables promise. The rows are quoted.
func (c crashCase) expect() fate {
	once := fate{settled: true, presented: 1}
	switch {
	case !c.after(refresh.StepClaimed):
		return once // before 2 | no claim | a fresh attempt. A stale read or a rival fails at the claim
	case c.after(refresh.StepCommitted):
		return once // between 5 and 7 | last = the attempt | told again (same id), ack
	case c.fault == faultAway || c.fault == faultRefused:
		// any commit error at 5 (NATS away, store full, permission) | the journal | retried while the process lives
		// and after a restart. What was not sent yet is sent later, if only by the next attempt
		return once
	case c.fault == faultReturned && c.after(refresh.StepJournal):
		return once // between 2 and 5, journal at hand (same host restarts) | its own entry | commit
	}
	return c.expectDeadClaim()
}

// expectDeadClaim is the row: between 2 and 5, journal not at hand | a dead claim | outcome unknown: by rotation class.
func (c crashCase) expectDeadClaim() fate {
	// It rotated if the answer is there. A frozen worker that wakes up at the fence sends nothing any more: too little
	// of its claim is left, and at the step send the connection's own deadline has passed.
	spent := c.after(refresh.StepAnswered)
	if c.class != authserver.RotationStrict {
		// none, overlap, until_used | try again. grace | try again within it. A woken author finds: same grant id, newer
		// version | never overwrite; keep the reply sealed, aside, counted. At none there is no new refresh token in it
		f := fate{settled: true, presented: 1}
		if spent {
			f.presented = 2
			f.aside = c.authorKeeps() && c.class != authserver.RotationNone
		}
		return f
	}
	// strict | not at once: uncertain
	f := fate{doubted: true}
	if !spent {
		return f // nothing was presented; a later try will find that
	}
	f.presented = 1
	if c.authorKeeps() {
		f.settled = true // same grant id and version, claim or doubt names my attempt | rebuild on the new revision, retry
	} else {
		f.lost = true // the answer was in the memory or on the disk of what is gone; known at once, which is what is promised
	}
	return f
}

// authorKeeps reports whether the answer outlives the fault, in the memory of the frozen or in the journal.
func (c crashCase) authorKeeps() bool {
	return c.fault == faultFrozen || c.fault == faultLate && c.after(refresh.StepJournal)
}

// judge compares the witnesses with what was expected. The refreshes afterwards must have worked.
func (f fate) judge(res *crashResult) error {
	v, goneOn := res.verdict, res.goneOn
	var errs []error
	must := func(what string, got, want any) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: %v, want %v", what, got, want))
		}
	}
	versions, lost, aside, state := 1+goneOn, 0, 0, refresh.StateActive
	if f.aside {
		aside = 1
	}
	if f.settled {
		versions++
	}
	if f.lost {
		lost, state = 1, refresh.StateUncertain
	}
	must("replayed", v.Ledger.Replayed, int64(0))
	must("concurrent", v.Ledger.Concurrent, int64(0))
	must("last tries", v.Ledger.LastTries, int64(0))
	must("grants ended by the provider", v.Ledger.Revoked, int64(0))
	must("token requests", int(v.Ledger.Requests["token"]), f.presented+goneOn)
	must("lost", len(v.Lost), lost)
	must("late replies kept", res.aside, aside)
	must("versions", v.Versions, versions)
	must("versions heard", v.Heard.Events[events.TokenUpdated], versions)
	must("records in the state "+string(state), v.States[state], 1)
	must("unreadable records", len(v.Unreadable), 0)
	return errors.Join(errs...)
}
