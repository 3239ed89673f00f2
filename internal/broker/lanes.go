package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/freshetdev/freshet/pkg/provider"
)

// laneMaxWaiting is how many pull requests a lane holds for later: every idle hand of the fleet may have its own.
// JetStream cannot change it afterwards.
const laneMaxWaiting = 16384

// EnsureLane creates the durable consumer of a provider, or brings the concurrency, the redelivery and the rate of
// an existing one to what the definition declares. Other differences are reported and left alone. A pause in the
// provider's entry holds for a new lane as well. With dryRun nothing changes.
func (b *Broker) EnsureLane(ctx context.Context, d provider.Definition, dryRun bool) (Change, error) {
	d = d.WithDefaults()
	change, err := b.ensureLane(ctx, d, dryRun)
	if err != nil {
		return change, fmt.Errorf("set up lane %s: %w", d.Name, err)
	}
	return change, nil
}

func (b *Broker) ensureLane(ctx context.Context, d provider.Definition, dryRun bool) (Change, error) {
	change := Change{Kind: KindLane, Name: d.Name}
	if err := errors.Join(validProvider(d.Name), checkRate(d.Limits.Rate)); err != nil {
		return change, err
	}
	want := b.laneConfig(d)
	info, err := b.consumerInfo(ctx, d.Name)
	if errors.Is(err, ErrNoLane) {
		change.Action = ActionCreate
		if dryRun {
			return change, nil
		}
		if err := b.putConsumer(ctx, want, "create"); err != nil {
			return change, err
		}
		return change, b.SyncPause(ctx, d.Name)
	}
	if err != nil {
		return change, err
	}
	return b.updateLane(ctx, change, laneUpdate{have: info.Config, want: want, dryRun: dryRun})
}

// checkRate refuses a rate whose slots are longer than the queue remembers them.
func checkRate(r provider.Rate) error {
	if r != 0 && r.SlotLength() > jobsDedupWindow {
		slowest := provider.Rate(1 / jobsDedupWindow.Seconds())
		return fmt.Errorf("rate %v cannot be kept over a fleet: want %v or more", r, slowest)
	}
	return nil
}

func (b *Broker) laneConfig(d provider.Definition) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Name: d.Name, Durable: d.Name, FilterSubject: b.names.LaneSubjects(d.Name),
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		// Never give up on a job: one that was delivered too often would stay and block its subject for good.
		MaxDeliver: -1, MaxAckPending: d.Limits.Concurrency, AckWait: d.Timing().AckWait, MaxWaiting: laneMaxWaiting,
	}
	if !d.Limits.Rate.IsZero() {
		c.Metadata = map[string]string{provider.LaneRate: d.Limits.Rate.String()}
	}
	return c
}

type laneUpdate struct {
	have, want jetstream.ConsumerConfig
	dryRun     bool
}

func (b *Broker) updateLane(ctx context.Context, change Change, u laneUpdate) (Change, error) {
	var ours, others differences
	ours.compare("ack wait", u.have.AckWait, u.want.AckWait)
	ours.compare("max ack pending", u.have.MaxAckPending, u.want.MaxAckPending)
	ours.compare("rate", u.have.Metadata[provider.LaneRate], u.want.Metadata[provider.LaneRate])
	others.compare("filter", u.have.FilterSubject, u.want.FilterSubject)
	others.compare("deliver policy", u.have.DeliverPolicy, u.want.DeliverPolicy)
	others.compare("ack policy", u.have.AckPolicy, u.want.AckPolicy)
	others.compare("max deliver", u.have.MaxDeliver, u.want.MaxDeliver)
	others.compare("max waiting", u.have.MaxWaiting, u.want.MaxWaiting)
	change.Differences = append(ours, others...)
	switch {
	case len(others) > 0:
		change.Action = ActionDiffer
		return change, nil
	case len(ours) == 0:
		change.Action = ActionOK
		return change, nil
	}
	change.Action = ActionUpdate
	if u.dryRun {
		return change, nil
	}
	// Everything else stays as it is, the pause above all: an update without one would end it.
	next := u.have
	next.AckWait, next.MaxAckPending = u.want.AckWait, u.want.MaxAckPending
	next.Metadata = maps.Clone(u.have.Metadata)
	delete(next.Metadata, provider.LaneRate)
	if rate, ok := u.want.Metadata[provider.LaneRate]; ok {
		if next.Metadata == nil {
			next.Metadata = make(map[string]string, 1)
		}
		next.Metadata[provider.LaneRate] = rate
	}
	return change, b.putConsumer(ctx, next, "update")
}

func (b *Broker) putConsumer(ctx context.Context, c jetstream.ConsumerConfig, action string) error {
	req := consumerRequest{Stream: b.names.JobsStream(), Config: c, Action: action}
	return b.api(ctx, consumerCreateSubject(req.Stream, c.Name, c.FilterSubject), req, &apiReply{})
}

// consumerRequest is the body of CONSUMER.CREATE.
type consumerRequest struct {
	Stream string                   `json:"stream_name"`
	Config jetstream.ConsumerConfig `json:"config"`
	Action string                   `json:"action"`
}

func consumerCreateSubject(stream, name, filter string) string {
	s := "CONSUMER.CREATE." + stream + "." + name
	if filter != "" {
		s += "." + filter
	}
	return s
}

// LaneInfo is the state of a lane.
type LaneInfo struct {
	Pending       uint64 // jobs queued
	AckPending    int    // jobs in flight
	MaxAckPending int    // the provider's concurrency over the whole fleet
	Waiting       int    // pull requests of idle hands
	Paused        bool
	PausedUntil   time.Time // zero where not paused
	AckWait       time.Duration
	LastAck       time.Time // zero: none yet
}

// LaneInfo asks the lane's leader. It fails with ErrNoLane where there is no lane.
func (b *Broker) LaneInfo(ctx context.Context, name string) (LaneInfo, error) {
	info, err := b.consumerInfo(ctx, name)
	if err != nil {
		return LaneInfo{}, fmt.Errorf("look at lane %s: %w", name, err)
	}
	li := LaneInfo{
		Pending: info.NumPending, AckPending: info.NumAckPending, MaxAckPending: info.Config.MaxAckPending,
		Waiting: info.NumWaiting, Paused: info.Paused, AckWait: info.Config.AckWait,
	}
	if last := info.AckFloor.Last; last != nil {
		li.LastAck = *last
	}
	if info.Paused && info.Config.PauseUntil != nil {
		li.PausedUntil = *info.Config.PauseUntil
	}
	return li, nil
}

func (b *Broker) consumerInfo(ctx context.Context, name string) (jetstream.ConsumerInfo, error) {
	if err := validProvider(name); err != nil {
		return jetstream.ConsumerInfo{}, err
	}
	var r struct {
		apiReply
		jetstream.ConsumerInfo
	}
	err := b.api(ctx, "CONSUMER.INFO."+b.names.JobsStream()+"."+name, nil, &r)
	return r.ConsumerInfo, laneError(name, err)
}

// laneError turns "no such consumer" into ErrNoLane.
func laneError(name string, err error) error {
	if hasCode(err, jetstream.JSErrCodeConsumerNotFound, jetstream.JSErrCodeConsumerDoesNotExist) {
		return fmt.Errorf("%w for provider %s: run %q", ErrNoLane, name, "freshet apply")
	}
	return err
}
