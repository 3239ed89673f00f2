package rewrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Config says what to rewrap, and with which keys. Broker and one of the keysets are required.
type Config struct {
	Broker *broker.Broker
	Grant  *seal.Keyset // nil: grants and providers are left alone
	Access *seal.Keyset // nil: access tokens are left alone
	// DryRun counts and writes nothing.
	DryRun bool
	// AtOnce bounds the records that are written at the same time; 0: 16.
	AtOnce int
	// Fault hears of each record and provider that cannot be rewrapped, once for each time it is met. Optional.
	Fault func(error)
	// Progress hears the counts after each record that was looked at. Optional.
	Progress func(Counts)
}

// Counts is what Run did, or would do.
type Counts struct {
	Seen      int // records looked at; one that was written meanwhile counts again
	Records   int // rewrapped
	Providers int // rewrapped
	Bad       int // records and providers that cannot be rewrapped
}

type run struct {
	cfg    Config
	writer enroll.Writer
	group  *errgroup.Group
	ctx    context.Context // of the group

	mu     sync.Mutex // guards what follows, and makes callbacks come one at a time
	counts Counts
	bad    map[string]bool
}

// Run rewraps everything. It may be ended and run again at any time. An error means that not everything was looked at.
func Run(ctx context.Context, cfg Config) (Counts, error) {
	cfg.AtOnce = cmp.Or(cfg.AtOnce, 16)
	r := &run{
		cfg: cfg, bad: make(map[string]bool),
		writer: enroll.Writer{
			Store: cfg.Broker, Keys: refresh.Keys{Bucket: cfg.Broker.Names().TokensBucket(), Grant: cfg.Grant, Access: cfg.Access},
		},
	}
	if cfg.Grant != nil {
		if err := r.providers(ctx); err != nil {
			return r.counts, err
		}
	}
	r.begin(ctx)
	err := cfg.Broker.Sweep(ctx, r.record, func() error {
		err := r.group.Wait()
		r.begin(ctx)
		return err
	})
	if cause := r.group.Wait(); cause != nil { // it is what ended the sweep
		err = cause
	}
	return r.counts, err
}

func (r *run) begin(ctx context.Context) {
	r.group, r.ctx = errgroup.WithContext(ctx)
	r.group.SetLimit(r.cfg.AtOnce)
}

// record looks at one record, and waits while too many are being written.
func (r *run) record(s refresh.Stored, err error) error {
	switch {
	case err != nil:
		r.fault(err.Error(), err)
	case !r.writer.Keys.Stale(&s.Record):
		r.count(func(c *Counts) { c.Seen++ })
	case r.cfg.DryRun:
		r.count(func(c *Counts) { c.Seen, c.Records = c.Seen+1, c.Records+1 })
	default:
		r.group.Go(func() error { return r.rewrap(s) })
	}
	return r.ctx.Err()
}

// rewrap ends the run only where the store does not answer; whatever is wrong with one record concerns no other.
func (r *run) rewrap(s refresh.Stored) error {
	done, err := r.writer.Rewrap(r.ctx, s)
	switch {
	case err == nil:
		r.count(func(c *Counts) {
			if c.Seen++; done {
				c.Records++
			}
		})
	case enroll.OfTheRecord(err):
		r.fault(s.Record.Credential().String(), err)
	default:
		return err
	}
	return nil
}

func (r *run) count(change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.counts)
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.counts)
	}
}

// fault notes once what is wrong with one thing.
func (r *run) fault(name string, err error) {
	r.count(func(c *Counts) {
		c.Seen++
		if r.bad[name] {
			return
		}
		r.bad[name] = true
		if c.Bad++; r.cfg.Fault != nil {
			r.cfg.Fault(err)
		}
	})
}

func (r *run) providers(ctx context.Context) error {
	all, err := r.cfg.Broker.Providers(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		changed, err := r.provider(ctx, name)
		switch {
		case errors.Is(err, broker.ErrUnknownProvider):
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			r.fault("provider "+name, fmt.Errorf("rewrap provider %s: %w", name, err))
		case changed:
			r.counts.Providers++
		}
	}
	return nil
}

// provider rewraps one definition; it starts over when somebody else wrote it meanwhile.
func (r *run) provider(ctx context.Context, name string) (changed bool, err error) {
	for {
		e, revision, err := r.cfg.Broker.Provider(ctx, name)
		if err != nil {
			return false, err
		}
		changed, err := e.Rewrap(r.cfg.Grant, r.cfg.Broker.Names().ProvidersBucket())
		if err != nil || !changed || r.cfg.DryRun {
			return changed, err
		}
		if _, err = r.cfg.Broker.PutProvider(ctx, name, e, revision); !errors.Is(err, refresh.ErrConflict) {
			return err == nil, err
		}
	}
}
