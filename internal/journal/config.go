package journal

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// What callers branch on; the errors of this package wrap them.
var (
	// ErrLocked means that another process uses the directory.
	ErrLocked = errors.New("journal is in use")
	// ErrFull means that an entry would exceed Config.MaxBytes, or is about to.
	ErrFull = errors.New("journal is full")
	// ErrClosed means that Close came first.
	ErrClosed = errors.New("journal is closed")
	// ErrUnknown means that there is no such entry, or not any more.
	ErrUnknown = errors.New("no such journal entry")
	// ErrNotSynced means that entries are safe from the death of the process, but not from the loss of power.
	ErrNotSynced = errors.New("journal is not synced")
)

// Entry is one outcome.
type Entry struct {
	ID   string    // attempt id: not empty, used once
	Key  string    // credential key, readable, for listings
	At   time.Time // when it was appended; set by Append
	Data []byte    // opaque, sealed by the caller

	// Set once the commit is known.
	Committed time.Time // zero until then
	Revision  uint64    // the KV revision of the commit
}

// Config is how a journal behaves. The zero value is right for a worker.
type Config struct {
	// Sync makes every Append wait until its entry is on the disk.
	Sync bool
	// SyncAfter is how long an entry may stay uncommitted without being synced; 0 means 1 s.
	SyncAfter time.Duration
	// KeepFor is how old a commit must be before its entry goes; 0 means 150 s (the 2 minutes after which a NATS
	// server syncs, and some), negative means at once (a server that syncs every write).
	KeepFor time.Duration
	// Held: it begins as after Hold.
	Held bool
	// MaxBytes bounds the log, and with it the memory that pending entries take; 0 means 1 GiB. Marks may exceed it by
	// their own few bytes, and while a segment begins the disk holds pending entries twice. Committed entries count until
	// their segment goes, so the bound is a rate: 1 GiB takes about 5,000 outcomes of 1.2 KB a second with a KeepFor of
	// 150 s.
	MaxBytes int64
	// OnError hears what no caller could be told: damage found by Open, and failures to sync or to begin a
	// segment in the background, the first recent entry that cannot be read back (when they begin or change, not at every retry). It must not call Close. Nil means nobody listens.
	OnError func(error)
}

func (c Config) withDefaults() Config {
	c.SyncAfter = cmp.Or(c.SyncAfter, time.Second)
	c.KeepFor = cmp.Or(c.KeepFor, 150*time.Second)
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<30)
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.SyncAfter < 0 {
		faults = append(faults, fmt.Errorf("journal SyncAfter is %v: it must not be negative", c.SyncAfter))
	}
	if c.MaxBytes < 0 {
		faults = append(faults, fmt.Errorf("journal MaxBytes is %d: it must not be negative", c.MaxBytes))
	}
	return errors.Join(faults...)
}
