package journal

import "time"

// What the tests of faults stand on.
type (
	Disk = disk
	File = file
)

// OSDisk is a real directory.
func OSDisk(dir string) Disk { return osDisk(dir) }

// OpenOn opens the journal on a disk of the test's making.
func OpenOn(d Disk, dir string, cfg Config) (*Journal, error) { return openOn(d, dir, cfg) }

// ForceRewrite has maintenance rewrite the log.
func (j *Journal) ForceRewrite() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.garbage = true
	j.wake()
}

// Whole returns how many of the log's records are intact.
func Whole(log []byte) int {
	n := 0
	for p := range pieces(log) {
		if p.intact {
			n++
		}
	}
	return n
}

// AsVersion makes an intact record one of another version.
func AsVersion(rec []byte, version byte) []byte {
	rec[4] = version
	return finish(rec)
}

// LogOf returns a log with one entry, committed at a time.
func LogOf(e Entry, committed time.Time) []byte {
	e.At = time.Now()
	return append(encodeEntry(e), encodeCommit(e.ID, committed, 1)...)
}

// Held counts what the journal holds on to beside its entries: bytes that wait to be written, bytes collected for a
// rewrite, slots that wait for a sync.
func (j *Journal) Held() (queued, delta, arrivals int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int(j.queued), len(j.delta), len(j.ledger.arrivals)
}

// PendingSince returns a log with one entry, appended at a time.
func PendingSince(e Entry, at time.Time) []byte {
	e.At = at
	return encodeEntry(e)
}
