package refresh_test

import (
	"testing"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// rotation makes a keyset that has a new key which does not seal yet, what it becomes when that key is promoted, and what is
// left of it when the old key is removed.
func rotation(t *testing.T) (handed, promoted, alone *seal.Keyset) {
	t.Helper()
	fatal := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	load := func(data []byte) *seal.Keyset {
		k, err := seal.LoadKeyset(data)
		fatal(err)
		return k
	}
	data, err := seal.GenerateKeyset()
	fatal(err)
	old := load(data).PrimaryID()
	data, _, err = seal.AddKey(data)
	fatal(err)
	handed = load(data)
	data, _, err = seal.PromoteKey(data)
	fatal(err)
	promoted = load(data)
	data, err = seal.RemoveKey(data, old)
	fatal(err)
	return handed, promoted, load(data)
}

// rotating gives the world keysets whose new key does not seal yet, and returns the keys of whoever rewraps and of whoever comes
// after the old key is gone.
func (w *world) rotating() (rewrapper, later refresh.Keys) {
	w.keys.Grant, rewrapper.Grant, later.Grant = rotation(w.t)
	w.keys.Access, rewrapper.Access, later.Access = rotation(w.t)
	rewrapper.Bucket, later.Bucket = w.keys.Bucket, w.keys.Bucket
	return rewrapper, later
}

// rewrap does to a record what freshet keys rewrap does.
func (w *world) rewrap(keys refresh.Keys, c events.Credential) {
	w.change(c, func(r *refresh.Record) {
		if changed, err := keys.Rewrap(r); err != nil || !changed {
			w.t.Errorf("rewrap: changed %v, %v", changed, err)
		}
	})
}

// A rewrap comes in between at any point of an attempt: one presentation, one version, nothing lost.
func TestARewrapDoesNotDisturbAnAttempt(t *testing.T) {
	for name, script := range map[string]func(rewrap func()) []step{
		"before the claim":               func(rewrap func()) []step { return []step{after(rewrap)} },
		"between claim and commit":       func(rewrap func()) []step { return []step{pass, after(rewrap)} },
		"while a commit goes wrong":      func(rewrap func()) []step { return []step{pass, lost, after(rewrap)} },
		"after a commit nobody heard of": func(rewrap func()) []step { return []step{pass, lost, after(rewrap), deaf} },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				rewrapper, _ := w.rotating()
				c, k := w.enrol("acme/alice"), w.worker("w1")
				k.store.puts.set(nil, script(func() { w.rewrap(rewrapper, c) })...)
				wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
				w.wantRecord(c, refresh.StateActive, 2)
				k.wantJournal(t, 0, 1)
				w.wantJudge("acme", judge{requests: 1, rotations: 1})
				w.wantHeld(c)
			})
		})
	}
}

// What a dead worker had journalled is committed into a record that was rewrapped meanwhile, claim and all.
func TestARewrapKeepsTheClaimOfADeadWorker(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rewrapper, _ := w.rotating()
		c := w.enrol("acme/alice")
		first := w.worker("w1")
		first.store.puts.set(nil, pass, die)
		w.dies(first, c, w.scheduled(c))
		before := w.record(c).Record
		w.rewrap(rewrapper, c)
		r := w.record(c).Record
		if before.Claim == nil || r.Claim == nil || *r.Claim != *before.Claim || r.Version != before.Version {
			t.Fatalf("claim %+v became %+v", before.Claim, r.Claim)
		}
		second := w.worker("w1")
		for _, res := range second.recover(w.ctx) {
			wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		}
		w.wantRecord(c, refresh.StateActive, 2)
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
		w.wantHeld(c)
	})
}

// A record that was rewrapped opens with the new keys alone, and what it held is what it holds.
func TestARewrappedRecordNeedsTheNewKeysAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rewrapper, later := w.rotating()
		c := w.enrol("acme/alice")
		s := w.record(c)
		grant, err := w.keys.OpenGrant(&s.Record)
		w.must(err)
		if _, err := later.OpenGrant(&s.Record); err == nil {
			t.Error("the new keys alone open what the old ones sealed")
		}
		w.rewrap(rewrapper, c)
		s = w.record(c)
		got, err := later.OpenGrant(&s.Record)
		if err != nil || !got.RefreshToken.Equal(grant.RefreshToken) || later.Stale(&s.Record) {
			t.Errorf("opens: %v, stale %v", err, later.Stale(&s.Record))
		}
		if _, err := later.OpenAccess(&s.Record); err != nil {
			t.Error(err)
		}
	})
}
