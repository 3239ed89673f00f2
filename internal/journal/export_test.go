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

// ForceTurn has maintenance begin a new segment.
func (j *Journal) ForceTurn() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.force = true
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
	return finish(rec, 0)
}

// LogOf returns a log with one entry, committed at a time.
func LogOf(e Entry, committed time.Time) []byte {
	e.At = time.Now()
	return appendCommit(encodeEntry(e), e.ID, committed, 1)
}

// Held counts what the journal holds on to beside its entries: bytes that wait to be written, bytes collected for a
// new segment, slots that wait for a sync.
func (j *Journal) Held() (queued, delta, arrivals int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int(j.queued), len(j.delta), len(j.ledger.arrivals)
}

// Kept is the recent entries of a ledger, by an identity of the test's making.
type Kept struct{ r recents }

// Push adds the latest and returns its number.
func (k *Kept) Push(a uint64, b uint32) uint64 {
	k.r.push(item{a: a, b: b, size: 1})
	return k.r.next - 1
}

// StartAt makes a number the next one to be given.
func (k *Kept) StartAt(number uint64) {
	k.r.first = number / blockItems * blockItems
	k.r.head, k.r.next = k.r.first, number
	k.r.blocks = []block{{items: new([blockItems]item)}}
}

// Find returns an item's number, 0 if there is none.
func (k *Kept) Find(a uint64, b uint32) uint64 {
	n, _ := k.r.find(identity{a, b})
	return n
}

// Remove drops a live item.
func (k *Kept) Remove(number uint64) { k.r.remove(number) }

// Oldest returns the number of the first live item, 0 if there is none.
func (k *Kept) Oldest() uint64 {
	n, _ := k.r.oldest()
	return n
}

// Blocks counts what items are held in.
func (k *Kept) Blocks() (n int) {
	for _, b := range k.r.blocks {
		if b.items != nil {
			n++
		}
	}
	return n
}

// PendingSince returns a log with one entry, appended at a time.
func PendingSince(e Entry, at time.Time) []byte {
	e.At = at
	return encodeEntry(e)
}
