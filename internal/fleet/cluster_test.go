//go:build evidence

package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// led reports whether the streams of the records and of the events have leaders that answer.
func led(ctx context.Context, f *fleet.Fleet) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := f.Broker.Get(ctx, events.Credential{Provider: "acme", Account: "nobody"})
	if !errors.Is(err, refresh.ErrNotFound) {
		return false
	}
	told, err := f.Broker.JetStream().Stream(ctx, f.Broker.Names().EventsStream())
	return err == nil && told.CachedInfo().Cluster.Leader != ""
}

// A cluster that falls apart in every way elects a leader again once it may.
func TestAClusterComesTogetherAgain(t *testing.T) {
	t.Parallel()
	ctx := within(t, 90*time.Second)
	f := start(ctx, t, fleet.Config{Auth: authserver.Config{Rotation: authserver.RotationStrict}, Nodes: 3})
	c := f.Cluster
	for _, breakApart := range []func(...int){c.Cut, c.Stall} {
		breakApart(0, 1, 2)
		for led(ctx, f) && ctx.Err() == nil {
			<-time.After(50 * time.Millisecond)
		}
		c.Heal()
		for !led(ctx, f) && ctx.Err() == nil {
			<-time.After(50 * time.Millisecond)
		}
		must(t, f.Enrol(ctx, 3))
	}
	must(t, c.Nodes[2].Kill())
	for !led(ctx, f) && ctx.Err() == nil {
		<-time.After(50 * time.Millisecond)
	}
	must(t, f.Enrol(ctx, 3))
	must(t, c.Nodes[2].Start(ctx))
	wantEqual(t, "accounts", len(f.Accounts()), 9)
}
