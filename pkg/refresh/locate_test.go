package refresh_test

import (
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// The commit table, row by row: the attempt "mine" was for version 3 of the grant g.
func TestLocate(t *testing.T) {
	t.Parallel()
	const quarantine = 20 * time.Second
	claim := func(attempt string) *refresh.Claim {
		return &refresh.Claim{Attempt: attempt, TTL: provider.Duration(25 * time.Second)}
	}
	last := func(attempt string) *refresh.Last { return &refresh.Last{Attempt: attempt} }
	for _, tt := range []struct {
		name  string
		edit  func(*refresh.Record)
		after time.Duration // since the record was stored
		want  refresh.Place
	}{
		{"my claim", func(r *refresh.Record) { r.Claim = claim("mine") }, 0, refresh.PlaceOurs},
		{"my claim, long dead", func(r *refresh.Record) { r.Claim = claim("mine") }, time.Hour, refresh.PlaceOurs},
		{"my attempt in doubt", func(r *refresh.Record) { r.Doubt = &refresh.Doubt{Attempt: "mine"} }, time.Minute, refresh.PlaceOurs},
		{"nothing of my attempt", func(*refresh.Record) {}, 0, refresh.PlaceOurs},
		{"only an earlier attempt", func(r *refresh.Record) { r.Last = last("earlier") }, 0, refresh.PlaceOurs},
		{"another's live claim", func(r *refresh.Record) { r.Claim = claim("another") }, 24 * time.Second, refresh.PlaceBusy},
		{"another's claim in quarantine", func(r *refresh.Record) { r.Claim = claim("another") }, 45*time.Second - 1, refresh.PlaceBusy},
		{"another's claim after quarantine", func(r *refresh.Record) { r.Claim = claim("another") }, 45 * time.Second, refresh.PlaceOurs},
		{"another's live claim over my doubt", func(r *refresh.Record) {
			r.Claim, r.Doubt = claim("another"), &refresh.Doubt{Attempt: "mine"}
		}, 0, refresh.PlaceBusy},
		{"my success", func(r *refresh.Record) { r.Version, r.Last = 4, last("mine") }, 0, refresh.PlaceCommitted},
		{"my failure", func(r *refresh.Record) { r.Last = last("mine") }, 0, refresh.PlaceCommitted},
		{"my claim, found dead by somebody", func(r *refresh.Record) {
			r.Last, r.Failure = last("mine"), &refresh.Failure{Class: refresh.ClassUnknown, Code: "claim_died"}
		}, 0, refresh.PlaceOurs},
		{"my success after somebody found my claim dead", func(r *refresh.Record) { r.Version, r.Last = 4, last("mine") }, 0, refresh.PlaceCommitted},
		{"my failure, and another's claim since", func(r *refresh.Record) { r.Last, r.Claim = last("mine"), claim("another") }, 0, refresh.PlaceCommitted},
		{"a newer version", func(r *refresh.Record) { r.Version, r.Last = 4, last("another") }, 0, refresh.PlaceMoved},
		{"a newer version, nobody's", func(r *refresh.Record) { r.Version = 5 }, 0, refresh.PlaceMoved},
		{"an older version", func(r *refresh.Record) { r.Version = 2 }, 0, refresh.PlaceOurs},
		{"another grant", func(r *refresh.Record) { r.GrantID = "h" }, 0, refresh.PlaceGone},
		{"another grant with my attempt", func(r *refresh.Record) { r.GrantID, r.Last = "h", last("mine") }, 0, refresh.PlaceGone},
		{"revoked", func(r *refresh.Record) { r.State = refresh.StateRevoked }, 0, refresh.PlaceGone},
		{"deleted after my success", func(r *refresh.Record) { r.State, r.Version, r.Last = refresh.StateDeleted, 4, last("mine") }, 0, refresh.PlaceGone},
		{"nothing at all", func(r *refresh.Record) { *r = refresh.Record{} }, 0, refresh.PlaceMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := healthy()
			tt.edit(&s.Record)
			if s.Record.GrantID == "" {
				s.Revision = 0
			}
			j := refresh.Journalled{Ticket: refresh.Ticket{Attempt: "mine", GrantID: "g", Generation: 1, Version: 3}}
			if got := refresh.Locate(&s, &j, quarantine, s.StoredAt.Add(tt.after)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
