// Package solo runs all of Freshet in one process on an embedded NATS server: Dev with a local authorization server and
// throwaway data, to see it work; Run for real, persistent, with an fsync on every write.
//
// Concurrency: Dev and Run block until ctx ends and join everything they started.
package solo
