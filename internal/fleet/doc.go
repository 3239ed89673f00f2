// Package fleet runs Freshet as it is deployed: scheduler, worker and nats-server as processes of their own, that can be
// stopped, killed, frozen and started again, with a strict authorization server beside them whose ledger is the judge.
// Tests use it, and whoever wants evidence at a larger size.
//
// # Model
//
// Build makes the binaries from the module's own sources and its pinned nats-server. Start starts nats-server and the
// authorization server, and then does what a person would do with the freshet command: make keysets, set up, apply a
// provider. Enrol stores grants. From then on the caller starts processes and harms them; a name stands for a state
// directory, so the same name started again is the same host that came back. Verdict compares four witnesses: the
// ledger, the records, what a subscriber heard, and when.
//
// # Invariants
//
// The authorization server lives in the calling process and outlives everything that is done to the others. No process
// outlives the caller: Close kills what is left, and on Linux the kernel does where Close is never called. Nothing waits
// by guessing a time: readiness is a connection that stands, a line in a log or an event that was heard.
//
// # Concurrency
//
// A Fleet, a Process and a Log may be used by any number of goroutines; a NATS by one at a time. Start begins one
// goroutine for the authorization server and one for the subscriber, each process one more; Close waits for them all.
package fleet
