package journal

// identity stands for an entry's id where the id itself is not in memory: 96 bits of keyed hashes. Two ids of which one
// is taken for the other are to be expected once in 10^12 years at 3,400 entries a second and half a million kept.
type identity struct {
	a uint64
	b uint32
}

// item is one recent entry: where its record is, and what its commit mark says. It takes 40 bytes and holds no pointer,
// so that half a million of them cost the garbage collector nothing.
type item struct {
	pos      int64 // of the record, see segment
	at       int64 // of the commit, nanoseconds after the ledger's epoch
	revision uint64
	a        uint64 // the identity
	b        uint32
	size     uint32 // of the record; 0: the item is gone
}

func (i *item) is(id identity) bool { return i.a == id.a && i.b == id.b }

const blockItems = 1024

// block is some items; nil where nothing lives. 40 KiB is a size that the allocator has.
type block struct {
	items *[blockItems]item
	live  int
}

// recents are the recent entries in the order of their commits. Each has a number, given once; blocks in which
// nothing lives are let go of. It does no locking.
type recents struct {
	blocks []block
	first  uint64 // number of the first item in blocks; a multiple of blockItems
	head   uint64 // nothing lives below this number
	next   uint64 // number of the next item
	live   int
	bytes  int64 // of the records
	places []uint32
}

// at returns a live item; nil if there is none of this number.
func (r *recents) at(number uint64) *item {
	if number < r.first || number >= r.next {
		return nil
	}
	b := r.blocks[(number-r.first)/blockItems]
	if b.items == nil || b.items[number%blockItems].size == 0 {
		return nil
	}
	return &b.items[number%blockItems]
}

// push adds an item as the latest.
func (r *recents) push(i item) {
	if uint32(r.next) == 0 {
		r.next++ // 0 stands for an empty place
	}
	if k := (r.next - r.first) / blockItems; k == uint64(len(r.blocks)) {
		r.blocks = append(r.blocks, block{items: new([blockItems]item)})
		if k > 0 {
			r.release(k - 1)
		}
	}
	b := &r.blocks[len(r.blocks)-1]
	b.items[r.next%blockItems] = i
	b.live++
	r.live++
	r.bytes += int64(i.size)
	r.next++
	r.insert(r.next-1, i.a)
}

// remove drops a live item.
func (r *recents) remove(number uint64) {
	i := r.at(number)
	r.erase(number, i.a)
	r.live--
	r.bytes -= int64(i.size)
	i.size = 0
	k := (number - r.first) / blockItems
	r.blocks[k].live--
	if k < uint64(len(r.blocks)-1) {
		r.release(k)
	}
}

// release lets go of a block that takes no more items, if nothing in it lives.
func (r *recents) release(k uint64) {
	if r.blocks[k].live == 0 {
		r.blocks[k].items = nil
	}
	for r.blocks[0].items == nil { // the last is never nil
		r.blocks = r.blocks[1:]
		r.first += blockItems
	}
}

// oldest returns the live item that was committed first; nil if there is none.
func (r *recents) oldest() (uint64, *item) {
	for r.head = max(r.head, r.first); r.head < r.next; r.head++ {
		if i := r.at(r.head); i != nil {
			return r.head, i
		}
	}
	return 0, nil
}
