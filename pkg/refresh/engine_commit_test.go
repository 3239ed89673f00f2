package refresh_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

func TestCommitThatGoesWrongOnTheWay(t *testing.T) {
	for name, commit := range map[string][]step{
		"not written":           {lost},
		"not written for long":  {lost, lost, lost, lost, lost, lost},
		"written, not answered": {deaf},
		"full, then room":       {says(errors.New("insufficient storage"))},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				k.store.puts.set(nil, append([]step{pass}, commit...)...)
				res := w.do(k, c)
				wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
				w.wantRecord(c, refresh.StateActive, 2)
				k.wantJournal(t, 0, 1)
				if told := w.told(c); res.After != 2 || res.Err != nil || len(told) != 1 || told[0].Data.Version != 2 {
					t.Errorf("after %d, err %v, told %+v", res.After, res.Err, told)
				}
				w.wantJudge("acme", judge{requests: 1, rotations: 1})
				w.wantHeld(c)
			})
		})
	}
}

// NATS goes away between the reply and its commit, and comes back while the worker still tries.
func TestCommitOutlivesARestartOfNATS(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		up := make(chan error, 1)
		k.store.puts.set(nil, pass, after(func() {
			w.nats.Stop()
			go func() {
				time.Sleep(20 * time.Second)
				up <- w.nats.Start()
			}()
		}))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		w.must(<-up)
		w.wantRecord(c, refresh.StateActive, 2)
		k.wantJournal(t, 0, 1)
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
		w.wantHeld(c)
	})
}

func TestCommitKeepsWhatOthersChangedMeanwhile(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*refresh.Record)
		kept func(refresh.Record) bool
	}{
		"pause":  {paused, func(r refresh.Record) bool { return r.Paused != nil && r.Paused.By == "operator" }},
		"policy": {func(r *refresh.Record) { r.Policy = &refresh.Policy{Cron: "@daily"} }, func(r refresh.Record) bool { return r.Policy != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				k.store.puts.set(nil, pass, after(func() { w.change(c, tt.edit) }))
				wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
				if r := w.wantRecord(c, refresh.StateActive, 2); !tt.kept(r) {
					t.Errorf("the change is lost: %+v", r)
				}
				w.wantJudge("acme", judge{requests: 1, rotations: 1})
				w.wantHeld(c)
				w.use(c, 200)
			})
		})
	}
}

func TestReplyBehindANewerVersionIsSetAside(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(nil, pass, after(func() { w.rival(c) }))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if !errors.Is(res.Err, refresh.ErrLateReply) || res.After != 1 {
			t.Errorf("err %v, after %d", res.Err, res.After)
		}
		if r := w.wantRecord(c, refresh.StateActive, 2); r.Last.Attempt != "rival" {
			t.Errorf("last %+v", r.Last)
		}
		aside, err := k.log.Aside()
		w.must(err)
		k.wantJournal(t, 0, 0)
		if len(aside) != 1 || aside[0].ID != res.Attempt || aside[0].Reason == "" {
			t.Fatalf("set aside: %+v", aside)
		}
		_, out, err := w.keys.OpenOutcome(refresh.Entry{ID: aside[0].ID, Key: aside[0].Key, Data: aside[0].Data})
		if err != nil || len(out.Body) == 0 {
			t.Errorf("what is set aside does not open: %v", err)
		}
		w.wantHeld(c)
	})
}

// A reply that brought no refresh token, or the one that the record has, is nothing that anybody could miss.
func TestReplyWithoutAnythingNewIsDropped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.apply("fixed", authserver.Config{Rotation: authserver.RotationNone}, nil)
		c, k := w.enrol("fixed/alice"), w.worker("w1")
		k.store.puts.set(nil, pass, after(func() { w.rival(c) }))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if res.Err != nil || k.log.Stats().Aside != 0 {
			t.Errorf("err %v, %d set aside", res.Err, k.log.Stats().Aside)
		}
		k.wantJournal(t, 0, 0)
	})
}

// The reply lost the race against a copy of itself, as when two processes recover one journal.
func TestReplyThatTheRecordWentOnWithIsDropped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(nil, pass, deaf, pass)
		k.store.gets.set(nil, pass, func(do func() error) error {
			w.change(c, func(r *refresh.Record) { // the same tokens, one version on
				g, err := w.keys.OpenGrant(r)
				w.must(err)
				r.Version, r.Last = r.Version+1, nil
				w.must(w.keys.Seal(r, refresh.Grant{RefreshToken: seal.NewSecret("newer"), Previous: g.RefreshToken}, seal.NewSecret("a")))
			})
			return do()
		})
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if res.Err != nil || k.log.Stats().Aside != 0 {
			t.Errorf("err %v, %d set aside", res.Err, k.log.Stats().Aside)
		}
	})
}

// Whoever withdrew or replaced the grant gets it withdrawn: what came back for it is given back to the provider.
// tombstone withdraws a credential as people do.
func tombstone(s refresh.State) func(*world, events.Credential) {
	return func(w *world, c events.Credential) {
		w.change(c, func(r *refresh.Record) { r.State, r.Grant, r.Access, r.Claim = s, nil, nil, nil })
	}
}

func TestReplyForAGrantThatIsGoneIsGivenBack(t *testing.T) {
	enrolled := func(w *world, c events.Credential) {
		tok, err := w.servers["acme"].Issue(c.Account, "")
		w.must(err)
		w.change(c, func(r *refresh.Record) {
			r.GrantID, r.Generation, r.Version, r.Claim = refresh.NewGrantID(), 2, 2, nil
			w.must(w.keys.Seal(r, refresh.Grant{RefreshToken: seal.NewSecret(tok.RefreshToken)}, seal.NewSecret(tok.AccessToken)))
		})
	}
	for name, happen := range map[string]func(*world, events.Credential){
		"enrolled again": enrolled,
		"revoked":        tombstone(refresh.StateRevoked),
		"deleted":        tombstone(refresh.StateDeleted),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				var then refresh.Stored
				k.store.puts.set(nil, pass, after(func() {
					happen(w, c)
					then, _ = w.Get(w.ctx, c)
				}))
				res := w.do(k, c)
				wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
				if !errors.Is(res.Err, refresh.ErrGrantGone) {
					t.Errorf("err %v", res.Err)
				}
				now, err := w.Get(w.ctx, c)
				if now.Revision != then.Revision || err != nil {
					t.Errorf("revision %d, then %d; err %v", then.Revision, now.Revision, err)
				}
				k.wantJournal(t, 0, 0)
				w.wantJudge("acme", judge{requests: 1, rotations: 1, withdrawn: 1})
				if n := len(w.told(c)); n != 0 {
					t.Errorf("%d events about a grant that is gone", n)
				}
			})
		})
	}
}

// A record that has disappeared was not withdrawn by anybody: what may be the last of its kind is kept.
func TestReplyWithoutARecordIsKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(nil, pass, after(func() { w.remove(c) }))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if !errors.Is(res.Err, refresh.ErrNoRecord) {
			t.Errorf("err %v", res.Err)
		}
		if _, err := w.Get(w.ctx, c); !errors.Is(err, refresh.ErrNotFound) {
			t.Errorf("something was created: %v", err)
		}
		if n := k.log.Stats().Aside; n != 1 {
			t.Errorf("%d set aside", n)
		}
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}

// A store that was set back two versions: whoever has the newest token commits it, in whatever order the journals come.
func TestAStoreThatWentBackGetsTheNewestToken(t *testing.T) {
	for name, first := range map[string]int{"the newest first": 1, "the oldest first": 0} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, workers := w.enrol("acme/alice"), []*worker{w.worker("w1"), w.worker("w2")}
				before := w.record(c).Record
				for i, k := range workers {
					time.Sleep(time.Minute)
					demand := refresh.Job{Reason: events.ReasonDemand, NewerThan: uint64(i + 1)}
					wantResult(t, k.Do(w.ctx, c, demand), refresh.VerdictAck, refresh.ClassOK)
				}
				w.change(c, func(r *refresh.Record) { *r = before })
				for _, i := range []int{first, 1 - first} {
					e := slices.Collect(workers[i].log.Recent())[0]
					workers[i].Recover(w.ctx, refresh.Entry{ID: e.ID, Key: e.Key, Data: e.Data, Revision: e.Revision})
				}
				w.wantRecord(c, refresh.StateActive, 3)
				w.wantHeld(c)
				w.wantJudge("acme", judge{requests: 2, rotations: 2})
			})
		})
	}
}

func TestGivingBackThatFailsIsSaid(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: authserver.FaultStatus, Endpoint: "revoke"}}))
		k.store.puts.set(nil, pass, after(func() { tombstone(refresh.StateDeleted)(w, c) }))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if !errors.Is(res.Err, refresh.ErrGrantGone) || res.Err.Error() == refresh.ErrGrantGone.Error() {
			t.Errorf("err %v", res.Err)
		}
		k.wantJournal(t, 0, 0)
	})
}

func TestNothingIsGivenBackWhereTheProviderCannotRevoke(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.apply("mute", authserver.Config{}, func(d *provider.Definition) { d.RevokeURL = "" })
		c, k := w.enrol("mute/alice"), w.worker("w1")
		k.store.puts.set(nil, pass, after(func() { tombstone(refresh.StateDeleted)(w, c) }))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		w.wantJudge("mute", judge{requests: 1, rotations: 1})
	})
}

// Somebody else holds a live claim on the version that the reply is for: its end is awaited.
func TestCommitWaitsForAnothersClaim(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.apply("lax", authserver.Config{Rotation: authserver.RotationOverlap}, nil)
		c, k := w.enrol("lax/alice"), w.worker("w1")
		began := time.Now()
		k.store.puts.set(nil, pass, after(func() {
			w.change(c, func(r *refresh.Record) {
				r.Claim = &refresh.Claim{Attempt: "another", Worker: "w2", TTL: provider.Duration(10 * time.Second), At: time.Now().UTC()}
			})
		}))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
		w.wantRecord(c, refresh.StateActive, 2)
		if took := time.Since(began); took < 30*time.Second || took > 35*time.Second { // its TTL and the quarantine
			t.Errorf("committed after %v", took)
		}
		w.wantHeld(c)
	})
}

// A failure has nothing to say to a record that somebody else is at.
func TestFailureUnderAnothersClaimIsDropped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: authserver.FaultDrop}}))
		k.store.puts.set(nil, pass, after(func() {
			w.change(c, func(r *refresh.Record) {
				r.Doubt = &refresh.Doubt{Attempt: r.Claim.Attempt, Worker: "w1", FirstSentAt: r.Claim.At}
				r.Claim = &refresh.Claim{Attempt: "another", Worker: "w2", TTL: provider.Duration(10 * time.Second), At: time.Now().UTC()}
			})
		}))
		began := time.Now()
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
		if took := time.Since(began); took > time.Second {
			t.Errorf("waited %v for nothing", took)
		}
		r := w.record(c).Record
		if r.Claim == nil || r.Claim.Attempt != "another" || r.Doubt == nil || r.Failure != nil {
			t.Errorf("claim %+v, doubt %+v, failure %+v", r.Claim, r.Doubt, r.Failure)
		}
		k.wantJournal(t, 0, 0)
	})
}

// Somebody wrote down the doubt about this attempt already; its failure adds nothing.
func TestFailureWithoutItsClaimIsDropped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		w.must(w.servers["acme"].SetFaults([]authserver.Fault{{Kind: authserver.FaultDrop}}))
		k.store.puts.set(nil, pass, after(func() {
			w.change(c, func(r *refresh.Record) {
				r.State, r.Doubt = refresh.StateUncertain, &refresh.Doubt{Attempt: r.Claim.Attempt, Worker: "w1", FirstSentAt: r.Claim.At}
				r.Claim = nil
			})
		}))
		wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassUnknown)
		if r := w.wantRecord(c, refresh.StateUncertain, 1); r.Doubt == nil || r.Failure != nil {
			t.Errorf("doubt %+v, failure %+v", r.Doubt, r.Failure)
		}
		k.wantJournal(t, 0, 0)
	})
}

// A record that does not fit sheds its extras first, then the access token, and never the grant.
func TestCommitMakesRoom(t *testing.T) {
	for name, tt := range map[string]struct {
		refusals     int
		meta, access bool
	}{
		"fits":                        {0, true, true},
		"fits without extras":         {1, false, true},
		"fits without a token to use": {2, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c, k := w.enrol("acme/alice"), w.worker("w1")
				w.change(c, func(r *refresh.Record) { r.Meta = json.RawMessage(`{"a":1}`) })
				next := []step{pass}
				for range tt.refusals {
					next = append(next, says(refresh.ErrTooLarge))
				}
				k.store.puts.set(nil, next...)
				wantResult(t, w.do(k, c), refresh.VerdictAck, refresh.ClassOK)
				r := w.wantRecord(c, refresh.StateActive, 2)
				if (len(r.Meta) > 0) != tt.meta || (len(r.Access) > 0) != tt.access || r.Failure != nil {
					t.Errorf("meta %s, %d bytes of access token, failure %+v", r.Meta, len(r.Access), r.Failure)
				}
				w.wantHeld(c)
			})
		})
	}
}

func TestCommitThatNeverFitsStaysInTheJournal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		k.store.puts.set(says(refresh.ErrTooLarge), pass)
		began := time.Now()
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictLeave, refresh.ClassOK)
		if !errors.Is(res.Err, refresh.ErrUnsettled) || !errors.Is(res.Err, refresh.ErrTooLarge) {
			t.Errorf("err %v", res.Err)
		}
		if took := time.Since(began); took != 50*time.Second { // the lane's AckWait
			t.Errorf("gave up after %v", took)
		}
		k.wantJournal(t, 1, 0)
		k.store.puts.set(nil)
		k.recover(w.ctx)
		w.wantRecord(c, refresh.StateActive, 2)
		w.wantHeld(c)
	})
}

// A journal that fails is no reason to lose the reply in hand.
func TestCommitGoesOnWithoutAJournal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		full := errors.New("no space left")
		k.journal.appends.set(says(full))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if !errors.Is(res.Err, full) {
			t.Errorf("err %v", res.Err)
		}
		w.wantRecord(c, refresh.StateActive, 2)
		w.wantHeld(c)
		if n := len(w.told(c)); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestCommitThatTheJournalDoesNotHearOfIsSaid(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, k := w.enrol("acme/alice"), w.worker("w1")
		full := errors.New("no space left")
		k.journal.commits.set(says(full))
		res := w.do(k, c)
		wantResult(t, res, refresh.VerdictAck, refresh.ClassOK)
		if !errors.Is(res.Err, full) || res.After != 2 {
			t.Errorf("err %v, after %d", res.Err, res.After)
		}
		k.journal.commits.set(nil)
		k.wantJournal(t, 1, 0)
		k.recover(w.ctx) // finds it committed
		w.wantRecord(c, refresh.StateActive, 2)
		k.wantJournal(t, 0, 1)
		w.wantJudge("acme", judge{requests: 1, rotations: 1})
	})
}
