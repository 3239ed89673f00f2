package exchanger_test

import (
	"testing"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// A worker that knows of an attempt by its claim alone asks after it.
func TestAnAttemptsOutcomeIsFoundByItsID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, _ := w.serve(w.config())
	c := w.client()
	var got []taken
	take := func(e refresh.Entry, p refresh.Phase) error { got = append(got, taken{e, p}); return nil }

	_, found, err := c.Find(t.Context(), "never", take)
	w.must(err)
	if found {
		t.Error("an attempt that never was has an outcome")
	}
	done := async(c, w.request("a1", w.token("alice")))
	<-w.gate.taken
	if _, _, err := c.Find(t.Context(), "a1", take); err == nil {
		t.Error("an attempt that is under way is known")
	}
	w.letThrough()
	w.wantAnswer(<-done) // and never acknowledged: its worker was killed
	e, found, err := c.Find(t.Context(), "a1", take)
	w.must(err)
	if !found || len(got) != 1 || e.ID != "a1" {
		t.Fatalf("found %t, %q, took %d", found, e.ID, len(got))
	}
	w.wantTaken(got[0], "a1")
	w.awaitHeld(s, 0)
	if _, found, err := c.Find(t.Context(), "a1", take); err != nil || found {
		t.Errorf("found again %t, %v, after it was taken over", found, err)
	}
	w.wantPosts(1)
}
