package app_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/provider"
)

// TestAProviderThatCannotBeReadStopsNoOther: an import goes on with the others.
func TestAProviderThatCannotBeReadStopsNoOther(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	plantProvider(f, "broken", `{"v":1,"token_url":"https://lo`)
	plantProvider(f, "foreign", `{"v":1,"client_id":"dev","client_secrets":["AQAAAAFhYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODkw"]}`)
	known, err := app.OpenProviders(t.Context(), f.Broker, f.grant)
	if len(known) != 1 || known["acme"] == nil || known["acme"].TokenURL != f.acme.TokenURL {
		t.Errorf("known are %v, want acme alone", known)
	}
	if !errors.Is(err, app.ErrUnusable) || !strings.Contains(err.Error(), "broken") || !strings.Contains(err.Error(), "foreign") {
		t.Errorf("error %v: want both providers in it", err)
	}
}

func TestSetupLooksAfterTheLanesOfWhatIsApplied(t *testing.T) {
	t.Parallel()
	f := newFleet(t, fleetConfig{})
	lane := func(name string, dryRun bool) (broker.Change, error) {
		t.Helper()
		changes, err := app.Setup(t.Context(), f.Broker, broker.SetupConfig{DryRun: dryRun})
		for _, c := range changes {
			if c.Kind == broker.KindLane && c.Name == name {
				return c, err
			}
		}
		t.Fatalf("no lane %s in %+v, %v", name, changes, err)
		return broker.Change{}, nil
	}
	want := func(step string, c broker.Change, err error, action broker.Action) {
		t.Helper()
		if err != nil || c.Action != action {
			t.Errorf("%s: %+v, %v, want %s", step, c, err, action)
		}
	}
	c, err := lane("acme", false)
	want("as applied", c, err, broker.ActionOK)

	stream, err := f.JetStream().Stream(t.Context(), f.Names().JobsStream())
	f.must(err)
	f.must(stream.DeleteConsumer(t.Context(), "acme"))
	c, err = lane("acme", true)
	want("missing, dry run", c, err, broker.ActionCreate)
	c, err = lane("acme", false)
	want("missing", c, err, broker.ActionCreate)
	c, err = lane("acme", true)
	want("made", c, err, broker.ActionOK)

	_, err = f.EnsureLane(t.Context(), f.definition("acme", func(d *provider.Definition) { d.Limits.Concurrency = 3 }), false)
	f.must(err)
	c, err = lane("acme", false)
	want("changed by hand", c, err, broker.ActionDiffer)
	if info, err := f.LaneInfo(t.Context(), "acme"); err != nil || info.MaxAckPending != 3 {
		t.Errorf("setup changed what was there: %+v, %v", info, err)
	}

	plantProvider(f, "broken", `{"v":1,"token_url":"https://lo`)
	if _, err := lane("acme", true); !errors.Is(err, app.ErrUnusable) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("with an entry that cannot be read: %v", err)
	}
}
