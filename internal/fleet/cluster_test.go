//go:build evidence

package fleet_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/freshetdev/freshet/internal/authserver"
	"github.com/freshetdev/freshet/internal/fleet"
)

// leader asks for the leader of the records' stream; empty: there is none that answers.
func leader(f *fleet.Fleet) string {
	var info struct {
		Cluster struct {
			Leader string `json:"leader"`
		} `json:"cluster"`
	}
	reply, err := f.Broker.Conn().Request("$JS.API.STREAM.INFO.KV_tokens", nil, time.Second)
	if err != nil || json.Unmarshal(reply.Data, &info) != nil {
		return ""
	}
	return info.Cluster.Leader
}

// A cluster that falls apart in every way elects a leader again once it may.
func TestAClusterComesTogetherAgain(t *testing.T) {
	t.Parallel()
	ctx := within(t, 90*time.Second)
	f := start(ctx, t, fleet.Config{Auth: authserver.Config{Rotation: authserver.RotationStrict}, Nodes: 3})
	c := f.Cluster
	for _, breakApart := range []func(...int){c.Cut, c.Stall} {
		breakApart(0, 1, 2)
		for leader(f) != "" && ctx.Err() == nil {
			<-time.After(50 * time.Millisecond)
		}
		c.Heal()
		for leader(f) == "" && ctx.Err() == nil {
			<-time.After(50 * time.Millisecond)
		}
		must(t, f.Enrol(ctx, 3))
	}
	must(t, c.Nodes[2].Kill())
	must(t, f.Enrol(ctx, 3))
	must(t, c.Nodes[2].Start(ctx))
	wantEqual(t, "accounts", len(f.Accounts()), 9)
}
