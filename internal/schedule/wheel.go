package schedule

import "time"

// wheelSlots is how many seconds the wheel holds apart: 36 hours. Only half of them are linked to, so that the
// slots still to be visited and those linked to never meet, even when visits are late.
const wheelSlots = 1 << 17

// backward is how many seconds a corrected clock may go back without all entries being placed anew.
const backward = 10

// slotBit marks a packed.prev that names a slot rather than an entry: the entry is the slot's first.
// A prev of 0 says that the entry is in no slot.
const slotBit = 1 << 31

// wheel is a hashed timing wheel: a doubly linked list of entries for each second modulo wheelSlots, threaded
// through the entries themselves.
type wheel struct {
	heads []uint32 // first entry of each slot; 0: none
	hand  uint32   // the next second to visit
	floor uint32   // the first second that may still be linked to, at least hand
}

func newWheel(now uint32) wheel {
	return wheel{heads: make([]uint32, wheelSlots), hand: now, floor: now}
}

// slot returns where an entry is to be met that has something to do at a second. What is too far off for the wheel is
// parked half way and placed again from there; the parking is spread by number, because many may end together.
func (w *wheel) slot(n, at uint32) uint32 {
	const far, parked = wheelSlots / 2, wheelSlots / 4
	at = max(at, w.floor)
	if at-w.floor >= far {
		at = w.floor + parked + n*2654435761>>16%parked // Knuth's multiplicative hash
	}
	return at % wheelSlots
}

// link puts an entry, which is in no slot, where it is met at a second or before; nowhere when the second is never.
func (x *Index) link(n, at uint32) {
	if at == never {
		return
	}
	slot := x.wheel.slot(n, at)
	p, head := x.at(n), x.wheel.heads[slot]
	p.next, p.prev = head, slot|slotBit
	if head != 0 {
		x.at(head).prev = n
	}
	x.wheel.heads[slot] = n
}

// unlink takes an entry out of its slot, if it is in one.
func (x *Index) unlink(n uint32) {
	p := x.at(n)
	switch {
	case p.prev == 0:
		return
	case p.prev&slotBit != 0:
		x.wheel.heads[p.prev&^slotBit] = p.next
	default:
		x.at(p.prev).next = p.next
	}
	if p.next != 0 {
		x.at(p.next).prev = p.prev
	}
	p.next, p.prev = 0, 0
}

func (x *Index) relink(n, at uint32) {
	x.unlink(n)
	x.link(n, at)
}

// Due calls fn for each entry with something to do at now, in no order, after at most limit entries returning
// that there is more. A job is handed out once, until Take or Upsert; what is to be told comes
// again after a few seconds unless fn calls Told. Of the index's methods fn may call View, Provider,
// Deadline and Told only. The cost depends on what is due, not on how many entries there are.
func (x *Index) Due(now time.Time, limit int, fn func(Ref, Work)) (more bool) {
	s := seconds(now)
	w := &x.wheel
	switch {
	case s < w.hand && w.hand-s <= backward:
		return false // done already
	case s < w.hand, s-w.hand > wheelSlots/2:
		x.rewind(s)
	}
	w.floor = max(w.floor, s+1)
	for ; w.hand <= s; w.hand++ {
		limit -= x.visit(s, limit, fn)
		if limit <= 0 {
			return true
		}
	}
	return false
}

// visit empties the hand's slot, at most limit entries of it, calls fn for those with something to do, and puts the
// entries where they are met next. It returns how many it met.
func (x *Index) visit(now uint32, limit int, fn func(Ref, Work)) (met int) {
	for head := &x.wheel.heads[x.wheel.hand%wheelSlots]; *head != 0 && met < limit; met++ {
		n := *head
		x.unlink(n)
		x.serve(n, now, fn)
	}
	return met
}

// serve hands out an entry's work, if there is any. What fn leaves untold comes again in retell seconds; a job does not wait
// for it.
func (x *Index) serve(n, now uint32, fn func(Ref, Work)) {
	p := x.at(n)
	w, look := p.work(now), x.looks[n]
	if look > now {
		w &^= WorkJob
	} else {
		delete(x.looks, n)
	}
	if w&WorkJob != 0 {
		p.flags |= flagReady
	}
	if w != 0 {
		fn(Ref(n), w)
	}
	job := p.asks()
	if look > now {
		job = look
	}
	x.link(n, min(after(now, job), after(now, p.tells())))
}

// after is when to come again for what was to be done at a second.
func after(now, at uint32) uint32 {
	if at <= now {
		return now + retell
	}
	return at
}

// rewind places all entries anew as of now. It is for a clock that has jumped, as when a machine slept.
func (x *Index) rewind(now uint32) {
	clear(x.wheel.heads)
	clear(x.looks)
	x.wheel.hand, x.wheel.floor = now, now
	for n := uint32(1); n <= x.top; n++ {
		if p := x.at(n); p.epoch != 0 {
			p.next, p.prev = 0, 0
			x.link(n, p.wakes())
		}
	}
}
