package app_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/natstest"
)

// A provider whose clock is wrong is said once an hour, and its tokens are renewed all the same.
func TestAProviderWithAWrongClock(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		f := newFleet(t, fleetConfig{Schedulers: 1, Workers: 1, Wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", time.Now().Add(-3*time.Minute).UTC().Format(http.TimeFormat))
				h.ServeHTTP(w, r)
			})
		}})
		c := f.enrol("alice")
		time.Sleep(4 * time.Hour)
		if r := f.record(c).Record; r.Version < 4 {
			t.Errorf("version %d after four hours", r.Version)
		}
		said := 0
		for _, l := range f.logs.lines("w1") {
			if strings.Contains(l.Message, "the provider's clock and this machine's are apart") && l.Provider == "acme" {
				said++
			}
		}
		if said < 1 || said > 5 {
			t.Errorf("said %d times in four hours", said)
		}
		f.wantCleanLedger()
	})
}
