package refresh_test

import (
	"errors"
	"testing"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// keptRecord is a healthy record as a backup has it, taken at noon; its access token lives until one.
func keptRecord(t *testing.T, g refresh.Grant) refresh.Stored {
	t.Helper()
	r := refresh.Record{
		V: 1, Provider: "acme", Account: "alice", GrantID: "abcdefghijklmnop", Generation: 2, Version: 7, State: refresh.StateActive,
		IssuedAt: noon, ExpiresAt: noon.Add(time.Hour), RefreshAt: noon.Add(40 * time.Minute),
	}
	if err := goldenKeys(t).Seal(&r, g, seal.NewSecret("at")); err != nil {
		t.Fatal(err)
	}
	return refresh.Stored{Record: r, Revision: 9, StoredAt: noon}
}

// What a worker does with a restored refresh token depends on what may have become of it since the backup.
func TestARestoredTokenGoesOnByRotationClass(t *testing.T) {
	t.Parallel()
	const soon, late = 11 * time.Minute, 59*time.Minute + 30*time.Second
	for name, tt := range map[string]struct {
		rotation provider.Rotation
		grace    time.Duration
		state    refresh.State
		at       time.Duration // since the backup
		canAsk   bool
		want     refresh.Why
	}{
		"none":                      {provider.RotationNone, 0, refresh.StateRetrying, soon, false, refresh.WhyRetryAllowed},
		"overlap":                   {provider.RotationOverlap, 0, refresh.StateRetrying, soon, false, refresh.WhyRetryAllowed},
		"grace that goes on":        {provider.RotationGrace, time.Hour, refresh.StateRetrying, soon, false, refresh.WhyRetryAllowed},
		"grace that is over":        {provider.RotationGrace, 5 * time.Minute, refresh.StateUncertain, soon, false, refresh.WhyDoubtHolds},
		"until used":                {provider.RotationUntilUsed, 0, refresh.StateUncertain, soon, false, refresh.WhyDoubtHolds},
		"strict":                    {provider.RotationStrict, 0, refresh.StateUncertain, soon, false, refresh.WhyDoubtHolds},
		"strict, and can be asked":  {provider.RotationStrict, 0, refresh.StateUncertain, soon, true, refresh.WhyInquiry},
		"strict, with nothing left": {provider.RotationStrict, 0, refresh.StateUncertain, late, false, refresh.WhyLastTry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := provider.Definition{Name: "acme", Rotation: tt.rotation, RotationGrace: provider.Duration(tt.grace)}.WithDefaults()
			if tt.canAsk {
				d.IntrospectURL = "https://acme.test/introspect"
			}
			s := keptRecord(t, refresh.Grant{RefreshToken: seal.NewSecret("rt")})
			got, err := goldenKeys(t).Restored(s, &d, refresh.Restoration{TakenAt: noon, Now: noon.Add(10 * time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
			if got.State != tt.state || got.Doubt == nil || !got.Doubt.FirstSentAt.Equal(noon) || !got.Doubt.Restored {
				t.Errorf("restored as %s with doubt %+v", got.State, got.Doubt)
			}
			decision := refresh.Decide(refresh.Input{
				Job: refresh.Job{NewerThan: got.Version}, Provider: &d, Now: noon.Add(tt.at), CanAsk: tt.canAsk,
				Stored: &refresh.Stored{Record: got, Revision: 1, StoredAt: noon.Add(10 * time.Minute)},
			})
			if decision.Why != tt.want {
				t.Errorf("decided %s (%s), want %s", decision.Action, decision.Why, tt.want)
			}
		})
	}
}

func TestARestoredRecordOpensUnderItsNewNumbers(t *testing.T) {
	t.Parallel()
	now := noon.Add(24 * time.Hour)
	for name, tt := range map[string]struct {
		told                [2]uint64
		generation, version uint64
	}{
		"nobody knows what was told": {[2]uint64{}, uint64(now.Unix()), 7},
		"the same was told":          {[2]uint64{2, 7}, 3, 7},
		"newer versions were told":   {[2]uint64{2, 12}, 3, 11},
		"a new grant was told":       {[2]uint64{5, 13}, 6, 12},
		"an older event is the last": {[2]uint64{1, 3}, 3, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := goldenKeys(t)
			s := keptRecord(t, refresh.Grant{RefreshToken: seal.NewSecret("rt"), Previous: seal.NewSecret("before")})
			got, err := keys.Restored(s, nil, refresh.Restoration{TakenAt: noon, Now: now, ToldGeneration: tt.told[0], ToldVersion: tt.told[1]})
			if err != nil || got.Generation != tt.generation || got.Version != tt.version {
				t.Errorf("restored as (%d, %d), %v; want (%d, %d)", got.Generation, got.Version, err, tt.generation, tt.version)
			}
			g, err := keys.OpenGrant(&got)
			access, err2 := keys.OpenAccess(&got)
			if err := errors.Join(err, err2); err != nil || g.RefreshToken.Reveal() != "rt" || g.Previous.Reveal() != "before" || access.Reveal() != "at" {
				t.Errorf("does not open: %v", err)
			}
		})
	}
}

// What nobody can have spent, and what nobody would present, is not marked.
func TestARestorationMarksOnlyWhatCanHaveBeenSpent(t *testing.T) {
	t.Parallel()
	minted := keptRecord(t, refresh.Grant{Mint: provider.GrantClientCredentials})
	minted.Record.Claim = &refresh.Claim{Attempt: "a", Worker: "w", TTL: provider.Duration(time.Minute), At: noon}
	lost, tomb := keptRecord(t, refresh.Grant{RefreshToken: seal.NewSecret("rt")}), keptRecord(t, refresh.Grant{})
	lost.Record.State = refresh.StateReauthRequired
	tomb.Record.State, tomb.Record.Grant, tomb.Record.Access = refresh.StateDeleted, nil, nil
	for name, s := range map[string]refresh.Stored{"minted": minted, "reauth_required": lost, "deleted": tomb} {
		got, err := goldenKeys(t).Restored(s, nil, refresh.Restoration{TakenAt: noon, Now: noon.Add(time.Hour)})
		if err != nil || got.State != s.Record.State || got.Doubt != nil || got.Claim != nil || got.Failure != nil {
			t.Errorf("%s: restored as %s, doubt %+v, claim %+v, %v", name, got.State, got.Doubt, got.Claim, err)
		}
		if len(got.Grant) == 0 != (len(s.Record.Grant) == 0) || len(got.Access) == 0 != (len(s.Record.Access) == 0) {
			t.Errorf("%s: secrets came or went", name)
		}
	}
}

// An attempt that was under way when the backup was taken began earlier than the backup.
func TestARestoredClaimIsDoubtSinceItsRequest(t *testing.T) {
	t.Parallel()
	s := keptRecord(t, refresh.Grant{RefreshToken: seal.NewSecret("rt")})
	began := noon.Add(-20 * time.Second)
	s.Record.Claim = &refresh.Claim{Attempt: "a1", Worker: "w1", TTL: provider.Duration(time.Minute), At: began}
	got, err := goldenKeys(t).Restored(s, nil, refresh.Restoration{TakenAt: noon, Now: noon.Add(time.Minute)})
	if err != nil || got.Claim != nil || got.Doubt == nil || !got.Doubt.FirstSentAt.Equal(began) || !got.Doubt.Earlier || !got.Doubt.Restored {
		t.Errorf("claim %+v, doubt %+v, %v", got.Claim, got.Doubt, err)
	}
}

// A record that is in doubt after a restoration stays so through further attempts of unknown outcome.
func TestARestoredDoubtIsCarriedOn(t *testing.T) {
	t.Parallel()
	s := keptRecord(t, refresh.Grant{RefreshToken: seal.NewSecret("rt")})
	s.Record.Doubt = &refresh.Doubt{Attempt: "restore", Worker: "restore", FirstSentAt: noon, Restored: true}
	s.Record.Claim = &refresh.Claim{Attempt: "a1", Worker: "w1", TTL: provider.Duration(time.Minute), At: noon}
	d := provider.Definition{Name: "acme", Rotation: provider.RotationUntilUsed}.WithDefaults()
	got := refresh.Decide(refresh.Input{Job: refresh.Job{NewerThan: 7}, Stored: &s, Provider: &d, Now: noon.Add(45 * time.Minute)})
	if got.Action != refresh.ActionResolve || got.Doubt == nil || !got.Doubt.Restored {
		t.Errorf("decided %s (%s) with doubt %+v", got.Action, got.Why, got.Doubt)
	}
}
