package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamSight is the state of a stream, for a person to judge.
type StreamSight struct {
	Kind, Name string // as in Change
	Bytes      uint64
	MaxBytes   int64 // -1: none
	Messages   uint64
	Consumers  int
	Replicas   int
	Behind     []string // replicas that are away or not current
	// Volatile: the server acknowledges before it has written.
	Volatile bool
}

// Streams asks how the streams of all assets are. Those that are missing are left out: Setup names them.
func (b *Broker) Streams(ctx context.Context) ([]StreamSight, error) {
	var all []StreamSight
	for _, a := range b.assets(SetupConfig{}) {
		var r struct {
			apiReply
			jetstream.StreamInfo
		}
		err := b.api(ctx, "STREAM.INFO."+a.config.Name, nil, &r)
		if hasCode(err, jetstream.JSErrCodeStreamNotFound) {
			continue
		}
		if err != nil {
			return all, fmt.Errorf("look at %s %s: %w", a.kind, a.name, err)
		}
		all = append(all, StreamSight{
			Kind: a.kind, Name: a.name, Bytes: r.State.Bytes, MaxBytes: r.Config.MaxBytes, Messages: r.State.Msgs, Consumers: r.State.Consumers,
			Replicas: r.Config.Replicas, Behind: behind(r.Cluster), Volatile: r.Config.PersistMode == jetstream.AsyncPersistMode,
		})
	}
	return all, nil
}

func behind(c *jetstream.ClusterInfo) (names []string) {
	if c == nil {
		return nil
	}
	for _, r := range c.Replicas {
		if r.Offline || !r.Current {
			names = append(names, r.Name)
		}
	}
	return names
}

// AskTime asks once for what Now is corrected by, and returns why it cannot be had.
func (b *Broker) AskTime(ctx context.Context) error {
	_, err := b.sampleClock(ctx)
	return err
}

// Limits are what the account may keep in files, and keeps.
type Limits struct {
	Used, Max uint64 // bytes; Max 0: no limit but the server's
}

// Limits asks for the account's limits. With several tiers it is the fullest one's.
func (b *Broker) Limits(ctx context.Context) (Limits, error) {
	var r struct {
		apiReply
		jetstream.AccountInfo
	}
	if err := b.api(ctx, "INFO", nil, &r); err != nil {
		return Limits{}, fmt.Errorf("ask for the account's limits: %w", err)
	}
	worst := limitsOf(r.Tier)
	for _, tier := range r.Tiers {
		if l := limitsOf(tier); l.share() > worst.share() {
			worst = l
		}
	}
	return worst, nil
}

func limitsOf(t jetstream.Tier) Limits {
	return Limits{Used: t.Store, Max: uint64(max(t.Limits.MaxStore, 0))}
}

func (l Limits) share() float64 {
	if l.Max == 0 {
		return 0
	}
	return float64(l.Used) / float64(l.Max)
}
