package schedule

import (
	"context"
	"errors"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Records tells what lies in the bucket of the records. Implementations MUST either deliver every record and every
// change, in the order of their revisions and one at a time, or return an error.
type Records interface {
	WatchRecords(ctx context.Context, cfg broker.WatchConfig, handle func(broker.Seen), caughtUp func()) error
}

// Providers tells who the providers are, under the contract of Records, and begins and ends their pauses.
type Providers interface {
	// WatchProviders sets err to broker.ErrUnknownProvider for an entry that is gone, to another for one that cannot be read.
	WatchProviders(
		ctx context.Context, handle func(name string, e provider.Entry, revision uint64, err error), caughtUp func(),
	) error
	// EndExpiredPause removes a pause whose end has passed; ended is true for one caller of many.
	EndExpiredPause(ctx context.Context, name string, now time.Time) (revision uint64, ended bool, err error)
	// PauseLane leaves a pause alone that is stronger.
	PauseLane(ctx context.Context, name string, p provider.Pause) (revision uint64, err error)
}

// Queue takes jobs.
type Queue interface {
	// PublishJob returns broker.ErrQueued when a job for the key is there already, broker.ErrSlotTaken when the rate
	// slot is spent; after any other error the job may be there or not.
	PublishJob(ctx context.Context, key string, job refresh.Job, slot string) error
	// LaneInfo returns broker.ErrNoLane when there is no lane.
	LaneInfo(ctx context.Context, provider string) (broker.LaneInfo, error)
}

var (
	_ Records   = (*broker.Broker)(nil)
	_ Providers = (*broker.Broker)(nil)
	_ Queue     = (*broker.Broker)(nil)
)

// Config is what a Scheduler works with. All but the Observer is required.
type Config struct {
	Records   Records
	Providers Providers
	Queue     Queue
	Teller    refresh.Teller
	// Now is NATS time. It must have been measured before Run.
	Now func() time.Time
	// Source is what this scheduler's events name as their source, such as "freshet/scheduler/s1".
	Source   string
	Observer Observer
}

func (c Config) validate() error {
	var faults []error
	for _, f := range []struct {
		missing bool
		what    string
	}{
		{c.Records == nil, "records"}, {c.Providers == nil, "providers"}, {c.Queue == nil, "queue"},
		{c.Teller == nil, "teller"}, {c.Now == nil, "time"}, {c.Source == "", "source"},
	} {
		if f.missing {
			faults = append(faults, errors.New("scheduler without "+f.what))
		}
	}
	return errors.Join(faults...)
}

// Observer hears what a Scheduler does. Nil functions are not called. They are called from several goroutines at
// once and must not block.
type Observer struct {
	// Published: a job was put on the queue.
	Published func(key string, reason events.Reason)
	// Lag is how long after it was due a job was published for the first time.
	Lag func(time.Duration)
	// Queued: a job was due and another one was there already.
	Queued func(key string)
	// Reading: all records, about n of them, are about to be read.
	Reading func(n int)
	// Rebuilt: all records, n of them, have been read; changes follow.
	Rebuilt func(n int, took time.Duration)
	// Error: something is wrong. What lasts is reported when it begins, and again only after it was well
	// in between; what is wrong with one record, once per revision, with its key.
	Error func(error)
}

func (o Observer) withDefaults() Observer {
	if o.Published == nil {
		o.Published = func(string, events.Reason) {}
	}
	if o.Lag == nil {
		o.Lag = func(time.Duration) {}
	}
	if o.Queued == nil {
		o.Queued = func(string) {}
	}
	if o.Reading == nil {
		o.Reading = func(int) {}
	}
	if o.Rebuilt == nil {
		o.Rebuilt = func(int, time.Duration) {}
	}
	if o.Error == nil {
		o.Error = func(error) {}
	}
	return o
}
