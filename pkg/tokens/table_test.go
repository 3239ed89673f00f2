package tokens

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/freshetdev/freshet/pkg/events"
)

// TestTableIsAMap holds the table against a map, with names that are short, long, and as long as fits.
func TestTableIsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var table table
		table.start()
		model := make(map[string]*held)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			c := events.Credential{Provider: "acme", Account: fmt.Sprint(rapid.IntRange(0, 200).Draw(t, "account"))}
			c.Account += strings.Repeat("x", rapid.SampledFrom([]int{0, 42, 43, 44, 45, 46, 47, 200}).Draw(t, "length"))
			id := c.String()
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				table.set(id, nil)
				delete(model, id)
			default:
				h := &held{name: nameOf(c), full: Token{Credential: c}}
				table.set(id, h)
				model[id] = h
			}
			if table.live != len(model) {
				t.Fatalf("%d live, want %d", table.live, len(model))
			}
		}
		for id, h := range model {
			if table.look(id) != h {
				t.Fatalf("%s is not found", id)
			}
			if table.look(id+"y") != nil {
				t.Fatalf("%sy is found", id)
			}
		}
	})
}

// TestTableIsReadWhileItGrows: what stays in it is always found, whatever comes and goes beside it.
func TestTableIsReadWhileItGrows(t *testing.T) {
	t.Parallel()
	var table table
	table.start()
	stays := &held{name: nameOf(events.Credential{Provider: "acme", Account: "stays"})}
	table.set("acme/stays", stays)
	var readers sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if table.look("acme/stays") != stays {
					t.Error("it was not found")
					return
				}
			}
		})
	}
	for i := range 5_000 {
		c := events.Credential{Provider: "acme", Account: fmt.Sprint(i)}
		table.set(c.String(), &held{name: nameOf(c)})
		if i%2 == 0 {
			table.set(c.String(), nil)
		}
	}
	close(over)
	readers.Wait()
}

// TestTableForgets: tokens that come and go leave no slots behind.
func TestTableForgets(t *testing.T) {
	t.Parallel()
	var table table
	table.start()
	for i := range 100_000 {
		c := events.Credential{Provider: "acme", Account: fmt.Sprint(i)}
		table.set(c.String(), &held{name: nameOf(c)})
		table.set(c.String(), nil)
	}
	if table.live != 0 || len(*table.slots.Load()) > smallestTable {
		t.Errorf("%d live in %d slots", table.live, len(*table.slots.Load()))
	}
}

func TestAReadingByNameFindsItsTokenByOneCacheLine(t *testing.T) {
	t.Parallel()
	if end, size := unsafe.Offsetof(held{}.token), unsafe.Sizeof(held{}); end != 64 || size != 256 {
		t.Errorf("what a reading looks at takes %d bytes, all of it %d", end, size)
	}
}
