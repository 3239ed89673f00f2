// Package journal keeps the outcomes of token requests in append-only files until their commit is known and
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
// its writer can then commit it again. Pending entries are held in memory with their records; of a recent one memory
// has 50 bytes, and the record is read from the disk when somebody asks for it.
//
// # Files
//
//	journal.log, journal-00000001.log, …  the log in segments, of 16 MiB and what is pending; only the last is written
//	journal.log.tmp  the next segment while it begins, or a damaged one being mended; left by a crash, it is worthless
//	aside.log        what was set aside and what could not be read; never rewritten
//	journal.lock     held while a process uses the directory
//	journal.pid      who holds it, for the error message
//
// All logs are sequences of records: magic, version, kind, length, CRC-32C, body. A new segment begins with copies of
// all that is pending, so that the earlier ones are needed for recent entries only. A segment is removed when nothing
// in it is live and none is before it. Nothing is ever compacted; a log of one file (journal.log) is a first segment.
//
// A reader that meets bytes which are no intact record looks for the next magic and goes on from there. Open copies the
// unreadable stretch to aside.log and replaces the segment by one without it, so damage costs the damaged records only
// and never stops a start; where that fails (a full disk), the next start does it.
// Whoever has dealt with the entries in aside.log may delete that file while no process uses the directory.
//
// # Invariants
//
//   - An Append that returned nil survives the death of the process at any instruction. With Config.Sync it also
//     survives the loss of power; without, it does so from SyncAfter on, unless its commit was confirmed first.
//   - An entry leaves the log only after its commit is KeepFor old, or it was retired, or it is safe in aside.log. When
//     recent entries fill MaxBytes, none goes early: work stops with ErrFull until the oldest are old enough.
//   - A lost or unreadable mark brings an entry back as pending, never the other way round. The caller must therefore
//     be ready to find a pending entry that was in truth committed or retired. Marks concern entries in the same or an
//     earlier segment, so segments go oldest first, and the disk knows of each removal before the next.
//   - No failed write, sync or rename makes an acknowledged pending entry disappear: it is held in memory, and whatever
//     leaves the active segment in doubt leads to a new one written from there.
//   - A recent entry has one copy, on the disk. One that cannot be read back costs itself: it is counted, and told, and
//     stops nothing, because its commit was acknowledged; what is lost is the protection from a server that forgets.
//   - Ids of recent entries are told apart by 96 bits of keyed hashes; see identity.
//
// # Concurrency
//
// Every method of [Journal] may be called by any number of goroutines. Appends and marks that meet are written by
// one write: the first of a batch writes for all. One goroutine, started by [Open] and awaited by [Journal.Close],
// syncs, begins and removes segments, and repairs. Locks are taken in the order asideLog.mu, Journal.io,
// Journal.syncing, Journal.mu; only mu is held for short times alone, and only io keeps an Append waiting for the disk.
// Recent entries are read under no lock: a segment that is removed meanwhile held none of them any more.
package journal
