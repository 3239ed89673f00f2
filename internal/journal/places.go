package journal

// The index of the recent entries is an open-addressing table with linear probing: places holds the low half of item
// numbers, 0 where a place is empty. A map would take three times the memory.

// find returns the live item of an identity; nil if there is none.
func (r *recents) find(id identity) (uint64, *item) {
	if len(r.places) == 0 {
		return 0, nil
	}
	for p := r.home(id.a); r.places[p] != 0; p = r.after(p) {
		if n := r.number(r.places[p]); r.at(n).is(id) {
			return n, r.at(n)
		}
	}
	return 0, nil
}

func (r *recents) home(a uint64) uint64  { return a & uint64(len(r.places)-1) }
func (r *recents) after(p uint64) uint64 { return (p + 1) & uint64(len(r.places)-1) }

// number makes a whole number of its low half: fewer than 2³² are in use.
func (r *recents) number(low uint32) uint64 { return r.first + uint64(low-uint32(r.first)) }

// insert enters an item; the table stays a quarter empty.
func (r *recents) insert(number, a uint64) {
	if 4*r.live > 3*len(r.places) {
		r.grow()
	}
	p := r.home(a)
	for r.places[p] != 0 {
		p = r.after(p)
	}
	r.places[p] = uint32(number)
}

func (r *recents) grow() {
	old := r.places
	r.places = make([]uint32, max(64, 2*len(old)))
	for _, low := range old {
		if low != 0 {
			p := r.home(r.at(r.number(low)).a)
			for r.places[p] != 0 {
				p = r.after(p)
			}
			r.places[p] = low
		}
	}
}

// erase takes an item out. Those behind it move up where they would otherwise not be found any more.
func (r *recents) erase(number, a uint64) {
	hole := r.home(a)
	for r.places[hole] != uint32(number) {
		hole = r.after(hole)
	}
	for p := r.after(hole); r.places[p] != 0; p = r.after(p) {
		home := r.home(r.at(r.number(r.places[p])).a)
		if last := uint64(len(r.places) - 1); (p-home)&last >= (p-hole)&last {
			r.places[hole] = r.places[p]
			hole = p
		}
	}
	r.places[hole] = 0
}
