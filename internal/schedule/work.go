package schedule

import (
	"bytes"
	"hash/maphash"
	"time"
)

// Ref names an entry for as long as it is in the index; after that, it may name another. So a Ref that was
// kept is a hint: Take looks whether it still holds.
type Ref uint32

// Work is a set of things to do about an entry.
type Work uint8

// What there may be to do.
const (
	WorkJob      Work = 1 << iota // a job is due
	WorkAnnounce                  // Entry.Announce is to be told; it comes from Announced, not from Due
	WorkExpiring                  // token.expiring is to be told
	WorkReauth                    // token.reauth_required is to be told
)

// Told notes that the entry's events in w were told.
func (x *Index) Told(r Ref, w Work) {
	p := x.at(uint32(r))
	if w&WorkAnnounce != 0 {
		p.announce = 0
	}
	if w&WorkExpiring != 0 {
		p.flags |= flagToldExpiring
	}
	if w&WorkReauth != 0 {
		p.flags |= flagToldReauth
	}
}

// Retell undoes Told, if the entry still is the same version of the same generation: Due brings an end again at until, Announced
// the announcement after the others.
func (x *Index) Retell(key string, e Entry, w Work, until time.Time) {
	n := x.find(maphash.String(x.seed, key), key)
	if n == 0 {
		return
	}
	p := x.at(n)
	if now := p.unpack(x.odds[n]); now.Generation != e.Generation || now.Version != e.Version {
		return
	}
	if w&WorkAnnounce != 0 && p.announce == 0 {
		x.announce(n, e.Announce)
	}
	if w&(WorkExpiring|WorkReauth) == 0 {
		return
	}
	if w&WorkExpiring != 0 {
		p.flags &^= flagToldExpiring
	}
	if w&WorkReauth != 0 {
		p.flags &^= flagToldReauth
	}
	at := seconds(until)
	if p.tries == 0 {
		at = min(at, p.asks())
	}
	x.relink(n, at)
}

// View returns an entry and its key.
func (x *Index) View(r Ref) (key string, e Entry) {
	p := x.at(uint32(r))
	e = p.unpack(x.odds[uint32(r)])
	if p.announce != 0 {
		e.Announce = x.notices[p.announce-1]
	}
	return string(x.keys.get(p.key)), e
}

// Provider returns the key's part before the first dot. It is valid until the index changes.
func (x *Index) Provider(r Ref) []byte {
	name, _, _ := bytes.Cut(x.keys.get(x.at(uint32(r)).key), []byte{'.'})
	return name
}

// Deadline returns the second by which the entry's job should be done: the token's end, or when it
// has none, when the job is due.
func (x *Index) Deadline(r Ref) uint32 {
	p := x.at(uint32(r))
	if p.expiry != 0 {
		return p.expiry
	}
	return p.due
}

// Take takes the job that Due handed out, to be asked for now: tries is how often it was before, and it
// comes again at until unless the entry changes. ok is false when r does not hold any more: the entry has changed,
// or is gone, or belongs to another provider.
func (x *Index) Take(r Ref, provider string, until func(tries int) time.Time) (ok bool) {
	p := x.at(uint32(r))
	if p.epoch == 0 || !p.flags.has(flagReady) || string(x.Provider(r)) != provider {
		return false
	}
	p.flags &^= flagReady
	at := until(int(p.tries))
	p.tries = min(p.tries, 254) + 1
	x.await(uint32(r), seconds(at))
	return true
}

// Defer puts off the next look at a job that was taken and whose entry has not changed since.
func (x *Index) Defer(r Ref, until time.Time) {
	if x.at(uint32(r)).taken() {
		x.await(uint32(r), seconds(until))
	}
}

// await places an entry whose job was taken: where it is looked at again, or before, if there is something to tell.
func (x *Index) await(n, look uint32) {
	delete(x.looks, n)
	tells := x.at(n).tells()
	if tells < look {
		x.looks[n] = look
	}
	x.relink(n, min(tells, look))
}

// Return undoes Take: the job was not asked for after all. ok is false when the entry has changed since.
func (x *Index) Return(r Ref) (ok bool) {
	p := x.at(uint32(r))
	if !p.taken() {
		return false
	}
	p.tries--
	p.flags |= flagReady
	delete(x.looks, uint32(r))
	x.relink(uint32(r), p.tells())
	return true
}

// taken reports whether a job was taken and the entry has not changed since.
func (p *packed) taken() bool { return p.epoch != 0 && p.tries > 0 && !p.flags.has(flagReady) }
