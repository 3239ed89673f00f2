// Package journal keeps the outcomes of token requests in an append-only file until their commit is known and
// safe. It knows nothing of what an outcome is: payloads are opaque bytes that the caller has sealed.
//
// # Model
//
// An entry is pending from [Journal.Append] until the caller knows what became of it:
//
//	Append ──> pending ──Committed──> recent ──(KeepFor)──> gone
//	              ├─────Retire──────────────────────────────> gone
//	              └────SetAside──> aside (kept until a person removes it)
//
// A recent entry stays because the server that confirmed the commit may lose power before it has synced it:
// its writer can then commit it again.
//
// # Files
//
//	journal.log      the live entries and the marks on them
//	journal.log.tmp  a rewrite under way; left by a crash, it is worthless
//	aside.log        what was set aside and what could not be read; never rewritten
//	journal.lock     held while a process uses the directory
//	journal.pid      who holds it, for the error message
//
// Both logs are sequences of records: magic, version, kind, length, CRC-32C, body. A reader that meets bytes
// which are no intact record looks for the next magic and goes on from there. The unreadable stretch is copied to
// aside.log and the log is rewritten without it, so damage costs the damaged records only and never stops a start.
// Whoever has dealt with the entries in aside.log may delete that file while no process uses the directory.
//
// # Invariants
//
//   - An Append that returned nil survives the death of the process at any instruction. With Config.Sync it also
//     survives the loss of power; without, it does so from SyncAfter on, unless its commit was confirmed first.
//   - An entry leaves journal.log only after its commit is KeepFor old, or it was retired, or it is safe in aside.log.
//   - A lost or unreadable mark brings an entry back as pending, never the other way round. The caller must therefore
//     be ready to find a pending entry that was in truth committed or retired.
//   - No failed write, sync or rename makes an acknowledged entry disappear: live entries are held in memory, and
//     whatever leaves the file in doubt leads to a new one written from there. After Open the log is never read again.
//
// # Concurrency
//
// Every method of [Journal] may be called by any number of goroutines. Appends and marks that meet are written by
// one write: the first of a batch writes for all. One goroutine, started by [Open] and awaited by [Journal.Close],
// syncs, rewrites and repairs. Locks are taken in the order asideLog.mu, Journal.io, Journal.syncing, Journal.mu;
// only mu is held for short times alone, and only io keeps an Append waiting for the disk.
package journal
