// Package audit writes down who did what: who enrolled, read, revoked, paused, applied and rotated.
//
// # Model
//
// An Entry says what was asked for and by whom. It is one message on the audit stream, a CloudEvent like those of pkg/events, on the
// subject audit.ACTION, followed by the key of the credential or the name of the provider that it is about. Log writes entries, Read
// finds them again. The stream refuses to delete or to purge.
//
// # Invariants
//
//   - An entry is stored before what it speaks of is done: who dies in between leaves an entry without an act, never an act
//     without an entry. The events say what came of it.
//   - What cannot be written down is done all the same, and said: a token that ends is worse than a gap that is known.
//   - The exception are tokens that an agent hands out. Nobody waits for their entries: see Reads.
//   - An entry holds no token, but what seal.Keyset.Reference makes of one.
//   - What an entry says of its actor is what the actor says of itself. Who may write which action is up to NATS' permissions, and
//     that is all that is proved.
//
// # Concurrency
//
// A Log and a Reads may be used by any number of goroutines. Reads.Run blocks and owns no other goroutine.
package audit
