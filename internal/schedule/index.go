package schedule

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// Errors of Index.Upsert.
var (
	// ErrFull: the index holds 2^28 entries or 16 GiB of keys.
	ErrFull = errors.New("index is full")
	// ErrKey: the key is empty or longer than 255 bytes.
	ErrKey = errors.New("key cannot be indexed")
)

const (
	// retell is after how many seconds Due brings again an end that was not told.
	retell = 5
	// sameEnd is how far apart, in seconds, two ends of a grant may lie and be the same: workers compute the end from
	// a remaining lifetime and their own clock.
	sameEnd = 60
	// entryPage is how many entries are allocated at once: 26 pages of the runtime's heap exactly.
	entryPage = 4096
)

// Index knows when there is something to do about each of many records, by key. Its arrays hold no pointers,
// so that it costs the garbage collector nothing; see the package comment for its size.
//
// An Index is not safe for concurrent use.
type Index struct {
	seed    maphash.Seed
	table   table
	keys    keyArena
	wheel   wheel
	pages   []*[entryPage]packed
	top     uint32 // the highest number ever used
	free    uint32 // first of the free numbers, linked by next
	len     int
	tally   tally // by provider and state
	epoch   uint8
	odds    map[uint32]odd
	looks   map[uint32]uint32      // when to look again at jobs that were taken, where there is something to tell before
	notices []refresh.Announcement // announcements, interned
	line    []uint32               // entries whose announcement is to be told, and perhaps some where it is not any more
}

// NewIndex returns an empty index whose first Due is at now or later.
func NewIndex(now time.Time) *Index {
	return &Index{
		seed: maphash.MakeSeed(), wheel: newWheel(seconds(now)), epoch: 1, odds: make(map[uint32]odd),
		looks: make(map[uint32]uint32), tally: make(tally),
	}
}

// Len returns the number of entries.
func (x *Index) Len() int { return x.len }

// Expect makes room for n entries in all, so that they come in without the table growing under them.
func (x *Index) Expect(n int) { x.table.expect(n, x.hashOf) }

// Upsert puts in an entry, or replaces the one under this key unless that has a higher revision and was seen since Begin: a store
// that was set back counts from where it is. It reports whether
// the change ends a job that Take had handed out: the record has come to something. A write that changes nothing
// here, such as a claim, ends no job and leaves the entry waiting for its next look. What was told
// about a version stays told. Errors: ErrFull, ErrKey.
func (x *Index) Upsert(key string, e Entry) (ended bool, err error) {
	hash := maphash.String(x.seed, key)
	n := x.find(hash, key)
	if n == 0 {
		return false, x.insert(hash, key, e)
	}
	old := x.at(n)
	if old.epoch == x.epoch && old.revision() > e.Revision {
		return false, nil
	}
	return x.replace(n, e), nil
}

func (x *Index) insert(hash uint64, key string, e Entry) error {
	if key == "" || len(key) > maxKeyLen {
		return fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	if x.free == 0 && x.top == numberMask {
		return ErrFull
	}
	tail := x.keys.tail
	ref, ok := x.keys.add(key)
	if !ok {
		return ErrFull
	}
	n := x.number()
	p := x.at(n)
	*p = x.pack(n, e)
	p.key, p.epoch = ref, x.epoch
	x.announce(n, e.Announce)
	p.skipPast(x.wheel.floor)
	x.table.add(hash, n, x.hashOf)
	x.tally.add(x.Provider(Ref(n)), p.flags.state(), 1)
	x.len++
	x.link(n, p.wakes())
	if x.keys.sparse(tail) { // it was being filled until now, so nobody looked
		x.compact(tail)
	}
	return nil
}

// number returns an unused number.
func (x *Index) number() uint32 {
	if n := x.free; n != 0 {
		x.free = x.at(n).next
		return n
	}
	x.top++
	if int(x.top/entryPage) == len(x.pages) {
		x.pages = append(x.pages, new([entryPage]packed))
	}
	return x.top
}

func (x *Index) replace(n uint32, e Entry) (ended bool) {
	old := *x.at(n)
	before := old.unpack(x.odds[n])
	p := x.pack(n, e)
	p.next, p.prev, p.key, p.epoch, p.announce = old.next, old.prev, old.key, x.epoch, old.announce
	p.skipPast(x.wheel.floor)
	grant := before.GrantID == e.GrantID && before.Generation == e.Generation
	token := grant && before.Version == e.Version
	if grant {
		p.keepToldReauth(&old)
	}
	if token {
		p.keepToldExpiring(&old)
	}
	if token && before.State == e.State && old.due == p.due && old.flags.reason() == p.flags.reason() {
		p.flags |= old.flags & flagReady
		p.tries = old.tries
	}
	*x.at(n) = p
	if e.Revision != before.Revision {
		x.announce(n, e.Announce)
	}
	if was, is := old.flags.state(), p.flags.state(); was != is {
		x.tally.add(x.Provider(Ref(n)), was, -1)
		x.tally.add(x.Provider(Ref(n)), is, 1)
	}
	if p.tries == 0 {
		delete(x.looks, n)
		x.relink(n, p.wakes())
	}
	return old.tries > 0 && p.tries == 0
}

// skipPast leaves untold what is over already: an end that has passed is not ahead any more.
func (p *packed) skipPast(now uint32) {
	if p.expiry <= now {
		p.flags |= flagToldExpiring
	}
	if p.grantEnd <= now {
		p.flags |= flagToldReauth
	}
}

// keepToldExpiring carries over, while the token is the same, whether its end was told.
func (p *packed) keepToldExpiring(old *packed) {
	if old.expiry == p.expiry && old.flags.lead() == p.flags.lead() {
		p.flags = p.flags&^flagToldExpiring | old.flags&flagToldExpiring
	}
}

// keepToldReauth carries over, while the grant and its end are the same, whatever the version, whether that end was
// told, and how long before, which was chosen when it was first seen.
func (p *packed) keepToldReauth(old *packed) {
	apart := max(p.grantEnd, old.grantEnd) - min(p.grantEnd, old.grantEnd)
	if apart < sameEnd && old.grantLead != 0 && p.grantLead != 0 {
		p.grantLead = old.grantLead
		p.flags = p.flags&^flagToldReauth | old.flags&flagToldReauth
	}
}

// Remove takes out what is under a key unless it has a higher revision, as in Upsert.
func (x *Index) Remove(key string, revision uint64) {
	hash := maphash.String(x.seed, key)
	if n := x.find(hash, key); n != 0 && (x.at(n).epoch != x.epoch || x.at(n).revision() <= revision) {
		x.remove(n, hash)
	}
}

func (x *Index) remove(n uint32, hash uint64) {
	x.tally.add(x.Provider(Ref(n)), x.at(n).flags.state(), -1)
	x.unlink(n)
	x.table.remove(hash, n, x.hashOf)
	page := x.keys.drop(x.at(n).key)
	delete(x.odds, n)
	delete(x.looks, n)
	*x.at(n) = packed{next: x.free}
	x.free = n
	x.len--
	if x.keys.sparse(page) {
		x.compact(page)
	}
}

// compact moves the live keys out of a page and gives it back.
func (x *Index) compact(page uint32) {
	for ref := range x.keys.all(page) {
		key := x.keys.get(ref)
		n := x.table.find(maphash.Bytes(x.seed, key), func(n uint32) bool { return x.at(n).key == ref })
		if n == 0 {
			continue // dropped
		}
		moved, ok := x.keys.add(string(key))
		if !ok {
			return // full: what moved so far is dead here, and the page stays
		}
		x.at(n).key = moved
	}
	x.keys.release(page)
}

// Has reports whether there is an entry under a key.
func (x *Index) Has(key string) bool { return x.find(maphash.String(x.seed, key), key) != 0 }

// Newer reports whether a version is above the one that the index has for key, if it has any.
func (x *Index) Newer(key string, generation, version uint64) bool {
	n := x.find(maphash.String(x.seed, key), key)
	if n == 0 {
		return true
	}
	e := x.at(n).unpack(x.odds[n])
	return generation > e.Generation || generation == e.Generation && version > e.Version
}

// Unchanged reports whether a record that is in the index says nothing new to it: who wrote it changed something else, such as
// what it is sealed with.
func (x *Index) Unchanged(key string, e Entry) bool {
	n := x.find(maphash.String(x.seed, key), key)
	if n == 0 {
		return false
	}
	before := x.at(n).unpack(x.odds[n])
	p, _, _ := e.pack()
	return before.GrantID == e.GrantID && before.Generation == e.Generation && before.Version == e.Version && before.State == e.State && x.at(n).due == p.due
}

// Begin starts a new reading of all records: Sweep drops what is not seen from here on. The count goes round after 255 readings, which
// matters only to an entry that no Sweep came to in all that time: it stays for one reading more.
func (x *Index) Begin() {
	x.epoch = max(x.epoch+1, 1) // 0 says that a number is free
}

// Sweep drops the entries that were not seen since Begin, looking at most at limit of them beginning behind from.
// It returns where to go on, 0 at the end.
func (x *Index) Sweep(from Ref, limit int) (next Ref) {
	n := uint32(from)
	for ; n < x.top && limit > 0; limit-- {
		n++
		if p := x.at(n); p.epoch != 0 && p.epoch != x.epoch {
			x.remove(n, x.hashOf(n))
		}
	}
	if n == x.top {
		return 0
	}
	return Ref(n)
}

func (x *Index) at(n uint32) *packed { return &x.pages[n/entryPage][n%entryPage] }

func (x *Index) find(hash uint64, key string) uint32 {
	return x.table.find(hash, func(n uint32) bool { return string(x.keys.get(x.at(n).key)) == key })
}

func (x *Index) hashOf(n uint32) uint64 { return maphash.Bytes(x.seed, x.keys.get(x.at(n).key)) }

// pack packs an entry and keeps aside what does not fit.
func (x *Index) pack(n uint32, e Entry) packed {
	p, rest, ok := e.pack()
	if ok {
		x.odds[n] = rest
	} else {
		delete(x.odds, n)
	}
	return p
}

// announce lets an entry's announcement be told, instead of one that was not told yet.
func (x *Index) announce(n uint32, a refresh.Announcement) {
	p := x.at(n)
	waits := p.announce != 0
	if p.announce = x.intern(a); p.announce != 0 && !waits {
		x.line = append(x.line, n)
	}
}

// Announced calls fn for each entry with an announcement to tell, the one that has waited longest first, until fn returns false. Where
// it returns true the announcement counts as told. Of the index's methods fn may call View, Provider, Deadline and Told only.
func (x *Index) Announced(fn func(Ref) bool) {
	for ; len(x.line) > 0; x.line = x.line[1:] {
		p := x.at(x.line[0])
		if p.announce != 0 && !fn(Ref(x.line[0])) {
			return
		}
		p.announce = 0
	}
	x.line = nil
}

// intern returns the announcement's number. There are as many as there are event types and reasons; should somebody
// write ever new ones, those beyond the 255th are not told.
func (x *Index) intern(a refresh.Announcement) uint8 {
	if a == (refresh.Announcement{}) {
		return 0
	}
	i := slices.Index(x.notices, a)
	if i < 0 && len(x.notices) < 255 {
		i = len(x.notices)
		x.notices = append(x.notices, a)
	}
	return uint8(i + 1)
}
