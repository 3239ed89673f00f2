package enroll_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/natstest"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// rotated gives the house keysets with a new key each that does not seal yet, and returns a writer whose keysets seal with it.
func (h *house) rotated(t *testing.T) *enroll.Writer {
	t.Helper()
	next := &enroll.Writer{Store: h.broker, Keys: refresh.Keys{Bucket: h.keys.Bucket}}
	h.keys.Grant, next.Keys.Grant = promotion(t)
	h.keys.Access, next.Keys.Access = promotion(t)
	h.writer.Keys = h.keys
	return next
}

func promotion(t *testing.T) (before, after *seal.Keyset) {
	t.Helper()
	data, err := seal.GenerateKeyset()
	if err == nil {
		data, _, err = seal.AddKey(data)
	}
	if err == nil {
		before, err = seal.LoadKeyset(data)
	}
	if err == nil {
		data, _, err = seal.PromoteKey(data)
	}
	if err == nil {
		after, err = seal.LoadKeyset(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return before, after
}

// enrolled stores alice's grant with all that others may have left on it.
func (h *house) enrolled(t *testing.T) refresh.Stored {
	t.Helper()
	s, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-1", "refresh-1"))
	if err != nil {
		t.Fatal(err)
	}
	s.Record.Claim = &refresh.Claim{Attempt: "a1", Worker: "w1", TTL: provider.Duration(time.Minute), At: time.Now().UTC().Truncate(time.Second)}
	s.Record.Doubt = &refresh.Doubt{Attempt: "a0", Worker: "w1", FirstSentAt: time.Now().UTC().Truncate(time.Second)}
	s.Record.Paused = &provider.Pause{By: "operator:ann"}
	return h.put(t, s)
}

func TestRewrapChangesNothingButTheKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.rotated(t)
	h.enrolled(t)
	before := h.stored(t, alice)
	done, err := w.Rewrap(t.Context(), before)
	if err != nil || !done {
		t.Fatalf("rewrap: %v, %v", done, err)
	}
	after := h.stored(t, alice)
	if after.Revision == before.Revision || w.Keys.Stale(&after.Record) || after.Headerless {
		t.Errorf("revision %d, then %d; stale %v, headers missing %v", before.Revision, after.Revision, w.Keys.Stale(&after.Record), after.Headerless)
	}
	if access, refreshToken := h.secretsOf(t, after); access != "access-1" || refreshToken != "refresh-1" {
		t.Errorf("holds %s and %s", access, refreshToken)
	}
	want := refresh.Announcement{Type: events.TokenUpdated, Reason: events.ReasonEnrolled}
	if a := h.announcement(t, alice); a != want {
		t.Errorf("announces %v, want %v: nobody may have told it yet", a, want)
	}
	after.Record.Grant, after.Record.Access = before.Record.Grant, before.Record.Access
	if !reflect.DeepEqual(after.Record, before.Record) {
		t.Errorf("the record\n%+v became\n%+v", before.Record, after.Record)
	}
	if done, err := w.Rewrap(t.Context(), h.stored(t, alice)); done || err != nil {
		t.Errorf("once more: %v, %v", done, err)
	}
}

func TestRewrapOfARecordThatHasChangedSince(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*house, *testing.T, refresh.Stored){
		"paused": func(h *house, t *testing.T, s refresh.Stored) { s.Record.Paused = nil; h.put(t, s) },
		"enrolled again": func(h *house, t *testing.T, _ refresh.Stored) {
			if _, err := h.writer.Enroll(t.Context(), acme(), alice, grant("access-2", "refresh-2")); err != nil {
				t.Error(err)
			}
		},
		"removed": func(h *house, t *testing.T, _ refresh.Stored) {
			if _, err := h.writer.Tombstone(t.Context(), alice, refresh.StateDeleted); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			w := h.rotated(t)
			seen := h.enrolled(t)
			change(h, t, seen)
			changed := h.stored(t, alice)
			if _, err := w.Rewrap(t.Context(), seen); err != nil {
				t.Fatal(err)
			}
			after := h.stored(t, alice)
			if w.Keys.Stale(&after.Record) || after.Record.State != changed.Record.State || after.Record.GrantID != changed.Record.GrantID {
				t.Errorf("%+v became %+v", changed.Record, after.Record)
			}
			access, token := h.secretsOf(t, changed)
			if a, r := h.secretsOf(t, after); a != access || r != token {
				t.Errorf("holds %s and %s, want %s and %s", a, r, access, token)
			}
		})
	}
}

// A write whose answer was lost is not taken for a failure, and not done twice.
func TestRewrapWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, applied := range map[string]bool{"written": true, "not written": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			w := h.rotated(t)
			seen := h.enrolled(t)
			store := &faultyStore{Store: h.broker, put: func(n int) (bool, error) {
				if n == 1 {
					return applied, errors.New("no answer")
				}
				return false, nil
			}}
			w.Store = store
			done, err := w.Rewrap(t.Context(), seen)
			after := h.stored(t, alice)
			if !done || err != nil || after.Revision != seen.Revision+1 || w.Keys.Stale(&after.Record) {
				t.Errorf("rewrap: %v, %v; revision %d after %d", done, err, after.Revision, seen.Revision)
			}
		})
	}
}

// What was marked as revoked still knows what its provider must be told, and is still announced.
func TestRewrapKeepsAMark(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.rotated(t)
	s := h.enrolled(t)
	s.Record.State, s.Record.Claim, s.Record.Doubt, s.Record.Access = refresh.StateRevoked, nil, nil, nil
	s = h.put(t, s)
	if done, err := w.Rewrap(t.Context(), s); !done || err != nil {
		t.Fatalf("rewrap: %v, %v", done, err)
	}
	if _, token := h.secretsOf(t, h.stored(t, alice)); token != "refresh-1" {
		t.Errorf("holds %s", token)
	}
	if a := h.announcement(t, alice); a.Type != events.TokenRevoked {
		t.Errorf("announces %v", a)
	}
}

func TestRewrapLeavesWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	seen := h.enrolled(t)
	w := &enroll.Writer{Store: h.broker, Keys: refresh.Keys{Bucket: h.keys.Bucket, Grant: natstest.Keyset(t)}}
	if done, err := w.Rewrap(t.Context(), seen); done || !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("rewrap: %v, %v", done, err)
	}
	if after := h.stored(t, alice); after.Revision != seen.Revision {
		t.Errorf("revision %d, was %d", after.Revision, seen.Revision)
	}
}
