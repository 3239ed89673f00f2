package refresh

// What the engine computes without I/O, for table tests.
var (
	AfterSuccess = afterSuccess
	AfterFailure = afterFailure
	AfterDeath   = afterDeath
	Locate       = locate
)

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
