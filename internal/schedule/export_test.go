package schedule

import (
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
)

// What an entry costs is promised in the package comment.
var _ [52]byte = [unsafe.Sizeof(packed{})]byte{}

// Bytes returns the memory that an index holds.
func Bytes(x *Index) int {
	entries := len(x.pages)*entryPage*int(unsafe.Sizeof(packed{})) + 8*cap(x.pages)
	keys := (len(x.keys.pages)-len(x.keys.free))*keyPage + 24*cap(x.keys.pages) + 8*cap(x.keys.dead)
	slots := tableShards * 32
	for i := range x.table.shards {
		slots += 4 * cap(x.table.shards[i].slots)
	}
	return entries + keys + slots + 4*len(x.wheel.heads)
}

// CheckIndex reports what is inconsistent inside an index.
func CheckIndex(x *Index) error {
	used := 0
	counted := make(tally)
	for n := uint32(1); n <= x.top; n++ {
		p := x.at(n)
		if p.epoch == 0 {
			continue
		}
		used++
		counted.add(x.Provider(Ref(n)), p.flags.state(), 1)
		key := string(x.keys.get(p.key))
		if got := x.find(x.hashOf(n), key); got != n {
			return fmt.Errorf("entry %d (%s): found %d", n, key, got)
		}
		if at := p.wakes(); at != never && p.prev == 0 {
			return fmt.Errorf("entry %d (%s): wakes at %d and is in no slot", n, key, at)
		}
		if p.announce != 0 && !slices.Contains(x.line, n) {
			return fmt.Errorf("entry %d (%s): its announcement is not in the line", n, key)
		}
		if err := x.checkLinks(n); err != nil {
			return fmt.Errorf("entry %d (%s): %w", n, key, err)
		}
	}
	if used != x.len {
		return fmt.Errorf("%d entries are used, Len is %d", used, x.len)
	}
	for provider, have := range x.tally {
		want := counted[provider]
		if want == nil {
			want = new([7]int)
		}
		if *have != *want {
			return fmt.Errorf("%s: counted %v by state, there are %v", provider, *have, *want)
		}
	}
	return nil
}

func (x *Index) checkLinks(n uint32) error {
	p := x.at(n)
	switch {
	case p.prev == 0 && p.next != 0:
		return fmt.Errorf("in no slot, with next %d", p.next)
	case p.prev&slotBit != 0 && x.wheel.heads[p.prev&^slotBit] != n:
		return fmt.Errorf("not the first of slot %d", p.prev&^slotBit)
	case p.prev != 0 && p.prev&slotBit == 0 && x.at(p.prev).next != n:
		return fmt.Errorf("prev %d does not know it", p.prev)
	case p.next != 0 && x.at(p.next).prev != n:
		return fmt.Errorf("next %d does not know it", p.next)
	}
	return nil
}

// KeyOf returns the key that a Ref stands for now.
func KeyOf(x *Index, r Ref) (key string, ok bool) {
	p := x.at(uint32(r))
	return string(x.keys.get(p.key)), p.epoch != 0
}

// KeyPages returns how many pages of keys are held.
func KeyPages(x *Index) int { return len(x.keys.pages) - len(x.keys.free) }

// Room is room.
func Room(info broker.LaneInfo, rate provider.Rate, now time.Time) int { return room(info, rate, now) }

// LookAgain is lookAgain.
func LookAgain(tries int) time.Duration { return lookAgain(tries) }

// Drain pushes deadlines onto a queue and returns them as they come out.
func Drain(deadlines []uint32) []uint32 {
	var q queue
	for i, d := range deadlines {
		q.push(queued{deadline: d, ref: Ref(i)})
	}
	var out []uint32
	for len(q) > 0 {
		out = append(out, q.pop().deadline)
	}
	return out
}

// Exhaust uses up the numbers of an index.
func Exhaust(x *Index) { x.top = numberMask }
