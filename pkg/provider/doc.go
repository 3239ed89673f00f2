// Package provider holds providers as data: an authorization server, our registration there, how its
// tokens are kept fresh, and how much may be asked of it.
//
// A Definition is what an operator writes (package providerfile reads the file). WithDefaults fills what was left
// out, Validate reports everything that is wrong at once, Timing derives the deadlines of one attempt. An
// Entry is how a definition lies in the providers bucket: client secrets sealed, the lane's Pause beside
// it.
//
// Invariants:
//   - How the client authenticates is always explicit. Trying one way after the other would present a refresh
//     token twice.
//   - Token material goes over TLS, or to this very machine.
//   - Timeout < ClaimTTL < ClaimTTL+Quarantine < AckWait, whatever the definition says.
//   - A client secret is in an Entry's JSON sealed, and nowhere else.
//
// # Concurrency
//
// Everything here is plain data; no function keeps or changes what it was given, Entry's own methods aside.
package provider
