package exchanger

import "github.com/freshetdev/freshet/pkg/refresh"

// OpenEntry opens a sealed outcome.
func OpenEntry(k refresh.Keys, e refresh.Entry) (refresh.Outcome, error) {
	return openOutcome(k, held{ID: e.ID, Key: e.Key, Data: e.Data})
}

// Moment, for its own tests.
type Moment = moment

// Now reads the clocks.
func Now() Moment { return newClock().now() }

// Left, Passed and Plus are what a moment can do.
var (
	Left   = Moment.left
	Passed = Moment.passed
	Plus   = Moment.plus
)

// Call is the body of a request.
type Call = call

// NewCall writes a request down for a store.
func NewCall(r refresh.Request, store string, now Moment) Call { return newCall(r, store, now) }

// StoreID is the id of the server's store.
func (s *Server) StoreID() string { return s.store.id }

// ExpireAt forgets what can be forgotten at an instant.
func (s *Server) ExpireAt(now Moment) { s.expire(now) }

// Known is the number of attempts that the server knows, and of entries that its journal keeps for them.
func (s *Server) Known() (attempts, entries int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return len(s.table.attempts), len(s.store.intents.Pending()) + s.store.intents.Stats().Recent + len(s.store.replies.Pending()) - 1 // the store's id
}

// KeepKnown is how long after its deadline an attempt stays known.
const KeepKnown = keepKnown
