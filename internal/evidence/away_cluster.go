package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/internal/fleet"
)

const monitorName = "monitor"

// configWithMonitor writes a copy of a server's configuration with one user more.
func configWithMonitor(path string) (copied string, forget func(), err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	const users = "users: ["
	text := strings.Replace(string(data), users, users+"\n{user: "+monitorName+", password: "+monitorName+"}", 1)
	dir, err := os.MkdirTemp("", "freshet-conf-")
	if err != nil {
		return "", nil, err
	}
	copied = filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return copied, func() { _ = os.RemoveAll(dir) }, nil
}

// harm is one thing that can be done to a cluster; node is one of its nodes, the leader of the records' stream if that is
// known.
type harm struct {
	name        string
	do, undo    func(a *absence, ctx context.Context, node int) error
	least, most time.Duration // between do and undo
}

func nothing(*absence, context.Context, int) error { return nil }

// harmsOf lists what is done. A stream without a leader finds a new one within some 4 to 9 s, and a leader that hears of nobody
// steps down within some 10 s: what lasts longer and what lasts shorter than that must both do no harm.
func harmsOf() []harm {
	cluster := func(do func(*fleet.Cluster, ...int)) func(*absence, context.Context, int) error {
		return func(a *absence, _ context.Context, node int) error { do(a.Cluster, node); return nil }
	}
	apart := func(do func(*fleet.Cluster, ...int)) func(*absence, context.Context, int) error {
		return func(a *absence, _ context.Context, _ int) error { do(a.Cluster, 0, 1, 2); return nil }
	}
	heal := func(a *absence, _ context.Context, _ int) error { a.Cluster.Heal(); return nil }
	return []harm{
		{"kill -9", kills, starts, 100 * time.Millisecond, 3 * time.Second},
		{"cut off", cluster((*fleet.Cluster).Cut), heal, time.Second, 12 * time.Second},
		{"step down", stepsDown, nothing, time.Second, 2 * time.Second},
		{"freeze", freezes, thaws, time.Second, 12 * time.Second},
		{"stall", cluster((*fleet.Cluster).Stall), heal, time.Second, 12 * time.Second},
		{"all cut", apart((*fleet.Cluster).Cut), heal, time.Second, 6 * time.Second},
		{"all stalled", apart((*fleet.Cluster).Stall), heal, time.Second, 6 * time.Second},
	}
}

func kills(a *absence, _ context.Context, node int) error { return a.Cluster.Nodes[node].Kill() }

func starts(a *absence, ctx context.Context, node int) error { return a.Cluster.Nodes[node].Start(ctx) }

func freezes(a *absence, _ context.Context, node int) error {
	return a.Cluster.Nodes[node].Process.Freeze()
}

func thaws(a *absence, _ context.Context, node int) error {
	return a.Cluster.Nodes[node].Process.Thaw()
}

// stepsDown ends the terms of the leaders of all streams. Nobody needs to hear: there may be no leader.
func stepsDown(a *absence, ctx context.Context, _ int) error {
	nc, err := a.monitor()
	if err != nil {
		return err
	}
	defer nc.Close()
	n := a.Broker.Names()
	for _, stream := range []string{n.TokensStream(), n.JobsStream(), n.EventsStream(), n.ProvidersStream()} {
		short, cancel := context.WithTimeout(ctx, time.Second)
		_, err := nc.RequestWithContext(short, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("step down %s: %w", stream, err)
		}
	}
	return nil
}

// harmed does one thing after the other to the cluster, each in turn and then at random, while everybody works.
func (a *absence) harmed(ctx context.Context) error {
	all := harmsOf()
	if err := a.AwaitRenewals(ctx, 1); err != nil {
		return err
	}
	for i := range a.cfg.Harms {
		h := all[i%len(all)]
		if i >= len(all) {
			h = all[a.chance.IntN(len(all))]
		}
		if err := a.harm(ctx, h); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		// Between two harms there is time to elect, or not quite.
		if !pause(ctx, a.chance, 100*time.Millisecond, 4*time.Second) {
			return ctx.Err()
		}
	}
	return nil
}

func (a *absence) harm(ctx context.Context, h harm) error {
	node := a.leader(ctx)
	if err := h.do(a, ctx, node); err != nil {
		return err
	}
	a.harms[h.name]++
	pause(ctx, a.chance, h.least, h.most)
	return h.undo(a, ctx, node)
}

// leader is the node that leads the stream of records; any, where nobody says.
func (a *absence) leader(ctx context.Context) int {
	var info struct {
		Cluster struct {
			Leader string `json:"leader"`
		} `json:"cluster"`
	}
	if a.about(ctx, &info) == nil {
		for i := range a.Cluster.Nodes {
			if info.Cluster.Leader == fleet.NodeName(i) {
				return i
			}
		}
	}
	return a.chance.IntN(len(a.Cluster.Nodes))
}
