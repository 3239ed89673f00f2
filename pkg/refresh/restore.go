package refresh

import (
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
)

// Restoration is what is known when a record goes from a backup back into the store.
type Restoration struct {
	TakenAt time.Time // when the backup began, in NATS time: nothing of it was presented before that nobody knows of
	Now     time.Time // NATS time
	// ToldGeneration and ToldVersion are the newest that subscribers have heard of the credential; 0: it is not known.
	ToldGeneration, ToldVersion uint64
}

// restorer stands for the attempts that nobody remembers, in doubts and failures.
const restorer = "restore"

// codeRestored is the failure of a record that came out of a backup.
const codeRestored = "restored"

// Restored returns the record of a backup as it may go back into a store, its secrets sealed for its new numbers. Errors are
// OpenGrant's and OpenAccess's. d may be nil where the provider is not known: it counts as strict then.
//
// A refresh token that a scheduler would have presented is marked as in doubt since the backup, before anybody can see it, and goes on
// by rotation class. The generation rises above what subscribers have heard, so that none of them takes what comes
// next for old.
//
// The version rises to the one before the newest they have heard, and no further: a worker whose journal still holds that
// newest one's reply finds the record waiting for it, and one that holds an older reply does not.
func (k Keys) Restored(s Stored, d *provider.Definition, f Restoration) (Record, error) {
	r := s.Record
	g, err := k.OpenGrant(&r)
	if err != nil {
		return Record{}, err
	}
	access, err := k.OpenAccess(&r)
	if err != nil {
		return Record{}, err
	}
	if !r.State.Withdrawn() {
		r = inDoubt(r, s, d, f, !g.RefreshToken.IsZero())
	}
	hasGrant, hasAccess := len(r.Grant) > 0, len(r.Access) > 0
	r.Generation = generationAfter(r.Generation, f)
	if f.ToldVersion > 0 {
		r.Version = max(r.Version, f.ToldVersion-1)
	}
	if err := k.Seal(&r, g, access); err != nil {
		return Record{}, err
	}
	if !hasGrant {
		r.Grant = nil
	}
	if !hasAccess {
		r.Access = nil
	}
	return r, nil
}

// generationAfter is above every generation that anybody can have heard of. Where it is not known which those are, the time is: nobody
// enrols once a second for decades, and a later restore has a later time.
func generationAfter(generation uint64, f Restoration) uint64 {
	if f.ToldGeneration > 0 {
		return max(generation, f.ToldGeneration) + 1
	}
	return max(generation+1, uint64(max(f.Now.Unix(), 0)))
}

// inDoubt takes the claim off a record, whose author no longer counts, and marks a refresh token that a scheduler would ask for.
func inDoubt(r Record, s Stored, d *provider.Definition, f Restoration, spendable bool) Record {
	if d == nil {
		d = &provider.Definition{Name: r.Provider}
	}
	complete := d.WithDefaults()
	earlier := doubtOf(&s)
	r.Claim = nil
	if !spendable || !r.State.Refreshable() {
		return r
	}
	r.Doubt = &Doubt{Attempt: restorer, Worker: restorer, FirstSentAt: f.TakenAt.UTC(), Restored: true}
	if earlier != nil {
		known := *earlier
		known.Restored, r.Doubt = true, &known
	}
	a := attemptFacts{ID: restorer, Worker: restorer, StartedAt: f.TakenAt, Now: f.Now.UTC()}
	afterFailure(&r, &complete, a, &Judgement{Class: ClassUnknown, Code: codeRestored}, 0)
	switch {
	case r.State == StateUncertain && r.ExpiresAt.IsZero():
		r.RefreshAt = time.Time{} // only a reader who finds it dead can say so
	case r.State == StateUncertain:
		// Workers that have newer replies in their journals come first.
		r.RefreshAt = laterOf(r.RefreshAt, f.Now.UTC().Add(authorReturns))
	}
	return r
}
