package schedule

const (
	// tableShards is how many small tables the hash table is made of. Each grows by itself, so that growing
	// stalls for one shard's entries only: about 10,000 of 10 million.
	tableShards = 1024
	// numberBits is the width of an entry number in a slot; the other bits are a tag of the key's hash, which
	// spares most looks at entries with other keys.
	numberBits = 28
	numberMask = 1<<numberBits - 1
	minSlots   = 8
)

// table finds entry numbers by hash: open addressing with linear probing, without tombstones. Number 0 is no entry.
// The zero value is empty.
type table struct {
	shards [tableShards]shard
}

type shard struct {
	slots []uint32 // tag and entry number; 0 is a free slot
	used  int
}

func (t *table) shard(hash uint64) *shard { return &t.shards[hash%tableShards] }

func tagOf(hash uint64) uint32 { return uint32(hash>>10) << numberBits }

func (s *shard) home(hash uint64) uint32 { return uint32(hash>>32) & s.mask() }

func (s *shard) mask() uint32 { return uint32(len(s.slots) - 1) }

// find returns the number with this hash that match accepts, or 0.
func (t *table) find(hash uint64, match func(number uint32) bool) uint32 {
	s := t.shard(hash)
	if s.used == 0 {
		return 0
	}
	tag := tagOf(hash)
	for i := s.home(hash); s.slots[i] != 0; i = (i + 1) & s.mask() {
		if v := s.slots[i]; v&^numberMask == tag && match(v&numberMask) {
			return v & numberMask
		}
	}
	return 0
}

// add puts in a number that is not there yet; hashOf gives the hashes of the numbers that are.
func (t *table) add(hash uint64, number uint32, hashOf func(number uint32) uint64) {
	s := t.shard(hash)
	if !s.holds(s.used + 1) {
		s.grow(max(minSlots, 2*len(s.slots)), hashOf)
	}
	s.put(hash, tagOf(hash)|number)
	s.used++
}

func (s *shard) put(hash uint64, v uint32) {
	i := s.home(hash)
	for s.slots[i] != 0 {
		i = (i + 1) & s.mask()
	}
	s.slots[i] = v
}

// holds reports whether there are slots enough for n numbers.
func (s *shard) holds(n int) bool { return n*4 <= len(s.slots)*3 }

// expect makes room for n numbers in all. Chance fills some shards more than others: those grow later.
func (t *table) expect(n int, hashOf func(number uint32) uint64) {
	each := (n + tableShards - 1) / tableShards
	for i := range t.shards {
		s, slots := &t.shards[i], minSlots
		for slots*3 < each*4 {
			slots *= 2
		}
		if !s.holds(each) {
			s.grow(slots, hashOf)
		}
	}
}

// grow makes it so many slots, a power of two.
func (s *shard) grow(slots int, hashOf func(number uint32) uint64) {
	old := s.slots
	s.slots = make([]uint32, slots)
	for _, v := range old {
		if v != 0 {
			s.put(hashOf(v&numberMask), v)
		}
	}
}

// remove takes a number out and moves those behind it closer to their homes, so that no hole breaks a probe.
func (t *table) remove(hash uint64, number uint32, hashOf func(number uint32) uint64) {
	s := t.shard(hash)
	hole := s.home(hash)
	for s.slots[hole]&numberMask != number {
		hole = (hole + 1) & s.mask()
	}
	for i := (hole + 1) & s.mask(); s.slots[i] != 0; i = (i + 1) & s.mask() {
		home := s.home(hashOf(s.slots[i] & numberMask))
		if (i-home)&s.mask() >= (i-hole)&s.mask() {
			s.slots[hole] = s.slots[i]
			hole = i
		}
	}
	s.slots[hole] = 0
	s.used--
}
