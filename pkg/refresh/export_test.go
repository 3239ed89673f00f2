package refresh

import "github.com/freshetdev/freshet/pkg/provider"

// What the engine computes without I/O, for table tests.
var (
	AfterDeath = afterDeath
	Locate     = locate
)

// AfterSuccess returns the record with the reply in it.
func AfterSuccess(r Record, d *provider.Definition, a AttemptFacts, g Grant, reply Reply, keys Keys) (Record, error) {
	err := afterSuccess(&r, d, a, g, &reply, keys)
	return r, err
}

// AfterFailure returns the record with a failed attempt in it.
func AfterFailure(r Record, d *provider.Definition, a AttemptFacts, j Judgement, status int) Record {
	afterFailure(&r, d, a, &j, status)
	return r
}

// The types these functions take and return.
type (
	AttemptFacts = attemptFacts
	Journalled   = journalled
	Place        = place
)

// The rows of the commit table.
const (
	PlaceCommitted = placeCommitted
	PlaceOurs      = placeOurs
	PlaceBusy      = placeBusy
	PlaceMoved     = placeMoved
	PlaceMissing   = placeMissing
	PlaceGone      = placeGone
)

// Encode is what a journal entry holds, sealed.
func (j journalled) Encode() ([]byte, error) { return j.encode() }

// OpenOutcome opens a journal entry.
func (k Keys) OpenOutcome(e Entry) (Ticket, Outcome, error) {
	j, err := k.openEntry(e)
	return j.Ticket, j.Outcome, err
}
