// Package schedule decides when a credential is due and puts a job for it on the work queue: the index of due times
// and the cron loop of the scheduler.
//
// # Model
//
// A Scheduler reads the headers of all records, plans each (Plan) and keeps the plans in an Index. Once a second, by
// NATS time, it takes out of the index what is due. Jobs go to their provider's lane, ordered by deadline, and from
// there onto the work queue, never more than the lane can take soon, so that this order holds after an outage. What
// is to be told goes to the events stream.
//
// Any number of schedulers do the same at once, without a leader. The work queue takes one job per credential, a rate
// slot takes one job of a provider, an event's id makes the second telling of it a duplicate.
//
// The index costs a process about 100 bytes per credential, keys of 30 bytes included, and the collector next to
// nothing. A tick's cost depends on what is due.
//
// # Invariants
//
//   - A credential stays due until its record changes. Having published, or having been told that a job is
//     there already, is never "done": after a while it is tried again.
//   - Backoff is obeyed: after a failure only refresh_at counts.
//   - One provider never delays another: a lane has its own goroutine, order and budget.
//   - What the process knows is re-derived from the records and the providers alone. After a gap it reads all
//     again and drops what is not there any more.
//   - No key, no secret: records are known by their headers.
//
// # What is told
//
// Events that a write announces (header announce) are told again with the id its writer used, also when they are found
// while reading all records, unless they were stored more than a week ago. They wait in a line of their own, of which a tick
// tells two thousand, once all records have been read: after an import there may be a million, and no job waits for them. token.expiring is told once per token, a
// twentieth of its lifetime before its end, at least two seconds and at most a minute. token.reauth_required is told
// seven days before a grant's own end, or after half of what was left when the token was issued: once per end, and under
// an id that names the version of that moment, so that a scheduler that starts anew may tell it again for a later
// version. An end that has passed when a scheduler first hears of it is not told.
//
// # Concurrency
//
// Run owns every goroutine and returns when all have ended: one per watch, one for the ticks, a few that tell, and one
// for each lane with something to publish. They share the index and the lanes under one mutex, which is never
// held over a call. Index, Plan and the rest are plain data and pure functions.
package schedule
