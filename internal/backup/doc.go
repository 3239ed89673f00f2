// Package backup keeps what cannot be derived again, the records and the provider definitions, as snapshots of their streams, and
// puts them back.
//
// # Model
//
// A backup is a directory: a snapshot of each bucket, and a manifest, which is written last and holds their checksums. Nothing in it
// can be read without the keysets, which are not in it.
//
// A snapshot restored as a stream would bring refresh tokens back that were spent since, and a worker would present them. So a
// backup is opened on a server of its own, where no worker is, and its records are written from there into the bucket in force, each in
// one write that already says what is in doubt.
//
// # Invariants
//
//   - No record of a backup is seen in force without its mark, whoever dies at whatever instruction.
//   - What is there already stays: a restoration only fills gaps, and may be ended and run again at any time.
//   - (Generation, version) only grow, for subscribers too that have heard more than the backup knows.
//   - A credential that was withdrawn since the backup comes back as a tombstone, as far as the events' stream still tells of it.
//
// # Concurrency
//
// Run writes from several goroutines, which end before it returns; its callbacks are called one at a time.
package backup
