package app_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// elsewhere is another token URL; the fleet's network leads to the one authorization server whatever the address.
const elsewhere = "http://127.0.0.1:10/token"

// demanded asks for a refresh of a credential and returns the end of the job.
func (f *fleet) demanded(c events.Credential) result {
	f.t.Helper()
	before := len(f.ended())
	f.must(f.Demand(f.ctx, c, refresh.Job{Reason: events.ReasonDemand, NewerThan: f.record(c).Record.Version}, 0))
	waitFor(f.t, "the end of a job", func() bool { return len(f.ended()) > before })
	return f.ended()[before]
}

// old is a grant that may be refreshed at once.
func old(g *enroll.NewGrant) { g.StartedAt = g.StartedAt.Add(-10 * time.Minute) }

// entry is the definition of acme that is in force, opened.
func (f *fleet) entry() provider.Entry {
	f.t.Helper()
	e, _, err := f.Provider(f.ctx, "acme")
	f.must(err)
	f.must(e.OpenSecrets(f.grant, f.Names().ProvidersBucket()))
	return e
}

func TestGrantsDoNotGoToAnotherTokenURLByThemselves(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	c := f.enrolFrom(f.auth, f.acme, "alice", old)
	moved := f.acme
	moved.TokenURL = elsewhere
	for _, dry := range []bool{true, false} {
		_, err := app.Apply(f.ctx, f.Broker, f.grant, moved, dry)
		if !errors.Is(err, app.ErrWouldMove) || !strings.Contains(err.Error(), "--move-grants") || !strings.Contains(err.Error(), f.acme.TokenURL) {
			t.Fatalf("apply, dry run %v: %v", dry, err)
		}
	}
	if e := f.entry(); e.TokenURL != f.acme.TokenURL {
		t.Errorf("in force is %s", e.TokenURL)
	}
	// Allowed, they go, and know their new place.
	f.must(app.MoveGrants(f.ctx, f.Broker, &moved))
	f.apply(moved)
	f.startWorker("w1")
	if r := f.demanded(c); r.Class != refresh.ClassOK {
		t.Fatalf("after the move: %s, %v", r.Class, r.Err)
	}
	s := f.record(c)
	if g, err := f.keys().OpenGrant(&s.Record); err != nil || g.TokenURL != elsewhere {
		t.Errorf("bound to %q, %v", g.TokenURL, err)
	}
	// The permission outlives the next apply, which does not repeat it.
	again := f.acme
	again.TokenURL, again.Scopes = elsewhere, []string{"a"}
	f.apply(again)
	if e := f.entry(); !slices.Equal(e.Definition.MovedFrom, []string{f.acme.TokenURL}) {
		t.Errorf("moved from %v", e.Definition.MovedFrom)
	}
	// Back again it needs another one.
	if _, err := app.Apply(f.ctx, f.Broker, f.grant, f.acme, false); !errors.Is(err, app.ErrWouldMove) {
		t.Errorf("back: %v", err)
	}
}

func TestATokenURLIsFreeToChangeWithoutCredentials(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	c := f.enrol("alice")
	_, err := f.writer.Tombstone(f.ctx, c, refresh.StateDeleted)
	f.must(err)
	moved := f.acme
	moved.TokenURL = elsewhere
	f.apply(moved)
	if e := f.entry(); e.TokenURL != elsewhere || e.Definition.MovedFrom != nil {
		t.Errorf("in force %s, moved from %v", e.TokenURL, e.Definition.MovedFrom)
	}
}

// TestADefinitionWrittenBehindOurBackGetsNoGrant: who may write the bucket, and has no keyset, leads nobody elsewhere.
func TestADefinitionWrittenBehindOurBackGetsNoGrant(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	c := f.enrolFrom(f.auth, f.acme, "alice", old)
	e, revision, err := f.Provider(f.ctx, "acme")
	f.must(err)
	e.TokenURL = elsewhere
	_, err = f.PutProvider(f.ctx, "acme", e, revision)
	f.must(err)
	f.startWorker("w1")
	r := f.demanded(c)
	if r.Class != refresh.ClassLocal || !errors.Is(r.Err, refresh.ErrMoved) || r.Attempt != "" {
		t.Errorf("class %s, attempt %q, %v", r.Class, r.Attempt, r.Err)
	}
	if n := len(f.asked()); n != 0 {
		t.Errorf("%d token requests", n)
	}
	if s := f.record(c); s.Record.State != refresh.StateActive || s.Record.Failure != nil {
		t.Errorf("the record is %s, failure %+v", s.Record.State, s.Record.Failure)
	}
}

// TestGrantsOfEarlierVersionsAreBoundBySuccess: they carry no token URL yet.
func TestGrantsOfEarlierVersionsAreBoundBySuccess(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	c := f.enrolFrom(f.auth, f.acme, "alice", old)
	s := f.record(c)
	g, err := f.keys().OpenGrant(&s.Record)
	f.must(err)
	access, err := f.keys().OpenAccess(&s.Record)
	f.must(err)
	f.must(f.keys().Seal(&s.Record, refresh.Grant{RefreshToken: g.RefreshToken, Previous: seal.Secret{}}, access))
	_, err = f.Put(f.ctx, refresh.Write{Record: s.Record, Revision: s.Revision})
	f.must(err)
	f.startWorker("w1")
	if r := f.demanded(c); r.Class != refresh.ClassOK {
		t.Fatalf("%s, %v", r.Class, r.Err)
	}
	s = f.record(c)
	if g, err := f.keys().OpenGrant(&s.Record); err != nil || g.TokenURL != f.acme.TokenURL {
		t.Errorf("bound to %q, %v", g.TokenURL, err)
	}
}

// TestTokensGoToNoAddressThatTheBucketsWriterMadeUp: somebody has written a revoke_url without the grant keyset.
func TestTokensGoToNoAddressThatTheBucketsWriterMadeUp(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	d := f.acme
	d.RevokeURL = strings.TrimSuffix(d.TokenURL, "/token") + "/revoke"
	f.apply(d)
	c := f.enrolFrom(f.auth, d, "alice", old)
	e, revision, err := f.Provider(f.ctx, "acme")
	f.must(err)
	e.RevokeURL = elsewhere
	_, err = f.PutProvider(f.ctx, "acme", e, revision)
	f.must(err)
	written, err := app.OpenProvider(f.ctx, f.Broker, f.grant, "acme")
	f.must(err)
	if _, err := f.revoke(*written, c); !errors.Is(err, enroll.ErrUnvouched) || f.record(c).Record.State != refresh.StateActive {
		t.Errorf("revoked: %v, and the record is %s", err, f.record(c).Record.State)
	}
	f.apply(d) // which mends it
	mended, err := app.OpenProvider(f.ctx, f.Broker, f.grant, "acme")
	f.must(err)
	if told, err := f.revoke(*mended, c); err != nil || !told {
		t.Errorf("after another apply: told %t, %v", told, err)
	}
	d.RevokeURL = "https://elsewhere.example.com/revoke"
	a, err := app.Apply(f.ctx, f.Broker, f.grant, d, true)
	if err != nil || !slices.ContainsFunc(a.Warnings, func(w string) bool { return strings.Contains(w, "elsewhere.example.com") }) {
		t.Errorf("another host is not warned of: %q, %v", a.Warnings, err)
	}
}
