// Package solo runs all of Freshet in one process on an embedded NATS server: Dev with a local authorization server and
// throwaway data, to see it work; Run for real, persistent, with an fsync on every write.
//
// # Model
//
// Both start NATS, then a scheduler and workers as the separate binaries do, and write an environment file that lets
// other processes of the same user in. Dev enrols demo accounts, prints a line for each event (Layout), and in the end
// judges itself: for each demo account the authorization server's ledger, the stored record, the workers' results and the
// events that a subscriber heard must say the same. Accounts that the user brought or changed meanwhile are left out of
// the judgement and named.
//
// # Concurrency
//
// Dev and Run block until ctx ends and join everything they started.
package solo
