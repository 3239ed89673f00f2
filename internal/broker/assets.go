package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Action is what a setup command did, or would do, about one asset.
type Action string

// The actions.
const (
	ActionCreate Action = "create"  // it was missing
	ActionOK     Action = "ok"      // it is as it should be
	ActionUpdate Action = "update"  // it was brought to what apply declares
	ActionDiffer Action = "differs" // it is not as it should be, and is left alone
)

// The kinds of assets.
const (
	KindBucket = "bucket"
	KindStream = "stream"
	KindLane   = "lane"
)

// Change is what became of one asset.
type Change struct {
	Kind        string
	Name        string
	Action      Action
	Differences []Difference // with ActionUpdate and ActionDiffer
}

// Difference is one setting that is not as it should be.
type Difference struct {
	Field, Have, Want string
}

// SetupConfig shapes new assets.
type SetupConfig struct {
	// Replicas of every asset; 0 leaves existing assets as they are and gives new ones 1.
	Replicas int
	// EventsMaxAge is how long events are kept; 0 leaves an existing stream as it is and gives a new one 7 days.
	EventsMaxAge time.Duration
	// AuditMaxAge is how long audit entries are kept; 0 leaves an existing stream as it is and gives a new one 400 days; Forever: as
	// long as there is room.
	AuditMaxAge time.Duration
	// DryRun reports what would be done and changes nothing.
	DryRun bool
}

// Forever is an age that ends nothing.
const Forever time.Duration = -1

const (
	// DefaultAuditMaxAge is a year and a month: what happened is still there when the year is looked at.
	DefaultAuditMaxAge  = 400 * 24 * time.Hour
	defaultEventsMaxAge = 7 * 24 * time.Hour
	// jobsDedupWindow remembers rate slots; it must outlast the longest slot, which bounds the slowest rate.
	jobsDedupWindow = 10 * time.Minute
	// eventsDedupWindow is how long telling the same event again is harmless.
	eventsDedupWindow = 10 * time.Minute
	bucketDedupWindow = 2 * time.Minute // the KV client's own choice; records carry no Msg-Id
)

// asset is a stream as it should be.
type asset struct {
	kind, name string // as people know it
	config     jetstream.StreamConfig
	anyAge     bool // nobody has said how long messages are kept: what is there will do
}

// assets returns everything Setup creates.
func (b *Broker) assets(cfg SetupConfig) []asset {
	replicas := cmp.Or(cfg.Replicas, 1)
	n := b.names
	return []asset{
		{KindBucket, n.TokensBucket(), bucket(n.TokensStream(), n.TokensBucket(), "One record per credential", replicas), false},
		{KindBucket, n.ProvidersBucket(), bucket(n.ProvidersStream(), n.ProvidersBucket(), "Provider definitions and pauses", replicas), false},
		{KindBucket, n.EnrollmentsBucket(), enrollments(n.EnrollmentsStream(), n.EnrollmentsBucket(), replicas), true},
		{KindStream, n.JobsStream(), jetstream.StreamConfig{
			Name: n.JobsStream(), Description: "Refresh jobs, at most one per credential",
			Subjects: []string{n.JobsSubjects()}, Replicas: replicas, Storage: jetstream.FileStorage,
			Retention: jetstream.WorkQueuePolicy, MaxMsgsPerSubject: 1,
			Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, Duplicates: jobsDedupWindow,
		}, false},
		{KindStream, n.EventsStream(), jetstream.StreamConfig{
			Name: n.EventsStream(), Description: "What subscribers hear",
			Subjects: n.EventsSubjects(), Replicas: replicas, Storage: jetstream.FileStorage,
			Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: -1, Discard: jetstream.DiscardOld, AllowDirect: true,
			MaxAge: cmp.Or(cfg.EventsMaxAge, defaultEventsMaxAge), Duplicates: eventsDedupWindow,
		}, cfg.EventsMaxAge == 0},
		{KindStream, n.AuditStream(), audit(n, cfg.AuditMaxAge, replicas), cfg.AuditMaxAge == 0},
	}
}

// bucket is the stream that the KV client takes for a bucket. It is created as a stream because the KV API resets
// options it does not know, and allows rollups: with one, whoever may write a single key could drop all others
// (Nats-Rollup: all), and no permission sees headers.
func bucket(stream, name, description string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: stream, Description: description, Subjects: []string{"$KV." + name + ".>"},
		Replicas: replicas, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DenyDelete: true, AllowDirect: true,
		Duplicates: bucketDedupWindow,
	}
}

// Setup creates what is missing and compares what is there. It never changes an existing asset: what differs is
// reported, for a person to decide. Doing it again is harmless.
func (b *Broker) Setup(ctx context.Context, cfg SetupConfig) ([]Change, error) {
	var changes []Change
	for _, a := range b.assets(cfg) {
		c, err := b.setupAsset(ctx, a, cfg)
		if err != nil {
			return changes, fmt.Errorf("set up %s %s: %w", a.kind, a.name, err)
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func (b *Broker) setupAsset(ctx context.Context, a asset, cfg SetupConfig) (Change, error) {
	change := Change{Kind: a.kind, Name: a.name, Action: ActionOK}
	have, err := b.streamConfig(ctx, a.config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		change.Action = ActionCreate
		if cfg.DryRun {
			return change, nil
		}
		err = b.createStream(ctx, a.config)
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return change, err
		}
		change.Action = ActionOK // somebody else was faster, with other settings
		have, err = b.streamConfig(ctx, a.config.Name)
	}
	if err != nil {
		return change, err
	}
	if change.Differences = compareStreams(have, a, cfg); len(change.Differences) > 0 {
		change.Action = ActionDiffer
	}
	return change, nil
}

type streamReply struct {
	apiReply
	Config jetstream.StreamConfig `json:"config"`
}

func (b *Broker) streamConfig(ctx context.Context, stream string) (jetstream.StreamConfig, error) {
	var r streamReply
	err := b.api(ctx, "STREAM.INFO."+stream, nil, &r)
	return r.Config, err
}

func (b *Broker) createStream(ctx context.Context, c jetstream.StreamConfig) error {
	return b.api(ctx, "STREAM.CREATE."+c.Name, c, &streamReply{})
}

// compareStreams compares the settings that Freshet relies on; everything else is the operator's own.
func compareStreams(have jetstream.StreamConfig, a asset, cfg SetupConfig) []Difference {
	want := a.config
	var d differences
	d.compare("subjects", slices.Sorted(slices.Values(have.Subjects)), slices.Sorted(slices.Values(want.Subjects)))
	d.compare("retention", have.Retention, want.Retention)
	d.compare("storage", have.Storage, want.Storage)
	d.compare("max messages per subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	d.compare("discard", have.Discard, want.Discard)
	d.compare("discard new per subject", have.DiscardNewPerSubject, want.DiscardNewPerSubject)
	d.compare("duplicate window", have.Duplicates, want.Duplicates)
	d.compare("allow direct", have.AllowDirect, want.AllowDirect)
	d.compare("allow rollup", have.AllowRollup, want.AllowRollup)
	d.compare("deny delete", have.DenyDelete, want.DenyDelete)
	d.compare("message lifetimes", have.AllowMsgTTL, want.AllowMsgTTL)
	if cfg.Replicas != 0 {
		d.compare("replicas", have.Replicas, want.Replicas)
	}
	if want.DenyPurge {
		d.compare("deny purge", have.DenyPurge, want.DenyPurge)
	}
	// A record that ages away would be a lost grant; only the age of events and audit entries is anybody's choice.
	if !a.anyAge {
		d.compare("max age", have.MaxAge, want.MaxAge)
	}
	return d
}

type differences []Difference

func (d *differences) compare(field string, have, want any) {
	h, w := fmt.Sprint(have), fmt.Sprint(want)
	if h != w {
		*d = append(*d, Difference{Field: field, Have: h, Want: w})
	}
}

// Check fails with ErrNotSetUp, naming every asset that is missing of those that a worker or a scheduler needs. It changes
// nothing.
func (b *Broker) Check(ctx context.Context) error {
	var missing []string
	for _, a := range b.assets(SetupConfig{}) {
		if a.name == b.names.EnrollmentsBucket() || a.name == b.names.AuditStream() {
			continue // see CheckEnrollments; neither of them writes audit entries
		}
		_, err := b.streamConfig(ctx, a.config.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			missing = append(missing, a.kind+" "+a.name)
		case err != nil:
			return fmt.Errorf("check %s %s: %w", a.kind, a.name, err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: missing %s: run %q", ErrNotSetUp, strings.Join(missing, ", "), "freshet setup")
	}
	return nil
}
