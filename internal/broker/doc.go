// Package broker is the one place that speaks JetStream: it creates the assets, keeps the records and the provider
// definitions by compare-and-set, publishes jobs, binds lanes, pauses them, and knows NATS time.
//
// # Model
//
// Four assets carry everything: the buckets of the records and of the provider definitions, the work queue with
// one durable consumer (a lane) per provider, and the stream of events. Setup and EnsureLane are the only code
// that creates anything; processes Check and bind.
//
// # Invariants
//
//   - What decides is read from the leader, never by direct get: a replica may be dozens of revisions behind.
//   - Every write names the revision it replaces. Nothing is retried here: after an error that is not ErrConflict or
//     ErrTooLarge the outcome is unknown, and only a leader read can tell.
//   - No publish lands after its author gave up: ConnectOptions turns off the reconnect buffer.
//   - A lane's consumer is paused because the provider's entry says so, never by itself.
//   - A watch never skips a change in silence: it ends with ErrWatchLost and its owner starts again.
//   - A denied subject is reported as ErrPermission with the subject, not as a timeout.
//
// # Concurrency
//
// A Broker is safe for concurrent use. Long-running methods (RunClock, WatchRecords, WatchProviders, Lane.Run) block
// until their context ends, and leave nothing behind. Watch handlers run one at a time, in stream order, and never after the
// watch returned; a lane's handlers run side by side, each on its own goroutine.
package broker
