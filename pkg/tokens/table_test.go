package tokens

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/events"
)

// TestTableIsAMap holds the table against a map, with names that are short, long, and as long as fits.
func TestTableIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table, model := newTable(), make(map[string]*held)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			c := events.Credential{Provider: "acme", Account: fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "account"))}
			c.Account += strings.Repeat("x", rapid.SampledFrom([]int{0, 30, 31, 32, 33, 34, 35, 200}).Draw(t, "length"))
			id := c.String()
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				table.set(id, nil)
				delete(model, id)
			default:
				h := &held{name: nameOf(c)}
				table.set(id, h)
				model[id] = h
			}
			if table.live != len(model) {
				t.Fatalf("%d live, want %d", table.live, len(model))
			}
		}
		for id, h := range model {
			if table.get(id) != h {
				t.Fatalf("%s is not found", id)
			}
			if table.get(id+"y") != nil {
				t.Fatalf("%sy is found", id)
			}
		}
	})
}

// TestTableForgets: tokens that come and go leave no slots behind.
func TestTableForgets(t *testing.T) {
	t.Parallel()
	table := newTable()
	for i := range 100_000 {
		c := events.Credential{Provider: "acme", Account: fmt.Sprint(i)}
		table.set(c.String(), &held{name: nameOf(c)})
		table.set(c.String(), nil)
	}
	if table.live != 0 || len(table.slots) > smallestTable {
		t.Errorf("%d live in %d slots", table.live, len(table.slots))
	}
}

func TestAReadingByNameLooksAtOneCacheLine(t *testing.T) {
	t.Parallel()
	if end, size := unsafe.Offsetof(held{}.asked), unsafe.Sizeof(held{}); end > 60 || size != 256 {
		t.Errorf("name, end and mark take %d bytes, all of it %d", end, size)
	}
}
