package fleet_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/fleet"
)

// assets are everything that setup makes.
var assets = []string{"tokens", "providers", "enrollments", "REFRESH_JOBS", "TOKEN_EVENTS", "AUDIT"}

// setup runs freshet setup and returns what it says about each asset.
func setup(ctx context.Context, t *testing.T, n *fleet.NATS, code int, args ...string) map[string]broker.Change {
	t.Helper()
	args = append([]string{"setup", "-o", "json"}, args...)
	out, err := n.As(fleet.RoleOperator, fleet.Command{Name: "freshet setup", Path: programs.Freshet, Args: args}).Run(ctx)
	must(t, err)
	if out.Code != code {
		t.Errorf("freshet setup %v: exit code %d, want %d: %s", args, out.Code, code, out.Stderr)
	}
	var list []broker.Change
	must(t, json.Unmarshal([]byte(out.Stdout), &list))
	changes := make(map[string]broker.Change)
	for _, c := range list {
		changes[c.Name] = c
	}
	return changes
}

func wantActions(t *testing.T, when string, changes map[string]broker.Change, want broker.Action) {
	t.Helper()
	for _, name := range assets {
		wantEqual(t, when+": "+name, changes[name].Action, want)
	}
	wantEqual(t, when+": assets named", len(changes), len(assets))
}

// What is there is never changed: people may have their reasons.
func TestSetupCreatesWhatIsMissingAndNothingElse(t *testing.T) {
	t.Parallel()
	ctx := within(t, 30*time.Second)
	n := bareNATS(ctx, t)
	nc, err := n.Connect(fleet.RoleOperator)
	must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(t, err)

	wantActions(t, "dry run", setup(ctx, t, n, 0, "--dry-run"), broker.ActionCreate)
	info, err := js.AccountInfo(ctx)
	must(t, err)
	wantEqual(t, "streams after a dry run", info.Streams, 0)
	wantActions(t, "first", setup(ctx, t, n, 0), broker.ActionCreate)
	wantActions(t, "again", setup(ctx, t, n, 0), broker.ActionOK)

	events, err := js.Stream(ctx, "TOKEN_EVENTS")
	must(t, err)
	cfg := events.CachedInfo().Config
	cfg.Duplicates = time.Minute
	_, err = js.UpdateStream(ctx, cfg)
	must(t, err)
	for _, args := range [][]string{{"--dry-run"}, nil} {
		changes := setup(ctx, t, n, codeError, args...)
		wantEqual(t, "an asset that is left alone", changes["tokens"].Action, broker.ActionOK)
		c := changes["TOKEN_EVENTS"]
		wantEqual(t, "the asset that differs", c.Action, broker.ActionDiffer)
		wantEqual(t, "differences", len(c.Differences), 1)
		wantEqual(t, "difference", c.Differences[0], broker.Difference{Field: "duplicate window", Have: "1m0s", Want: "10m0s"})
	}
	fresh, err := events.Info(ctx)
	must(t, err)
	wantEqual(t, "duplicate window after setup", fresh.Config.Duplicates, time.Minute)
}
