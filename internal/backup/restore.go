package backup

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
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Config says what goes where. Everything but the last three is required.
type Config struct {
	Manifest      Manifest
	From          *broker.Broker // where the backup was opened
	To            *broker.Broker // where the fleet works; its clock should be measured
	Grant, Access *seal.Keyset
	// AtOnce bounds the records that are written at the same time; 0: 16.
	AtOnce int
	// Fault hears of each record and provider that cannot be restored. Optional.
	Fault func(error)
	// Progress hears the counts after each record. Optional.
	Progress func(Counts)
}

// Counts is what Run did.
type Counts struct {
	Records       int // looked at
	AsTheyWere    int // restored, with nothing that can have been spent
	InDoubt       int // restored, and marked
	Withdrawn     int // tombstones in place of credentials that were withdrawn since
	Kept          int // there was a record already
	Providers     int // restored
	ProvidersKept int // there was a definition already
	Bad           int // records and providers that cannot be restored
}

type run struct {
	cfg    Config
	writer enroll.Writer
	known  map[string]*provider.Definition

	mu     sync.Mutex // guards what follows, and makes callbacks come one at a time
	counts Counts
}

// Run restores providers, then records. It may be ended and run again at any time. An error means that not everything
// was looked at. The lanes are not its business: see app.Setup.
func Run(ctx context.Context, cfg Config) (Counts, error) {
	cfg.AtOnce = cmp.Or(cfg.AtOnce, 16)
	r := &run{
		cfg: cfg, known: make(map[string]*provider.Definition),
		writer: enroll.Writer{
			Store: cfg.To, Now: cfg.To.Now,
			Keys: refresh.Keys{Bucket: cfg.To.Names().TokensBucket(), Grant: cfg.Grant, Access: cfg.Access},
		},
	}
	if err := r.providers(ctx); err != nil {
		return r.counts, fmt.Errorf("restore providers: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(cfg.AtOnce)
	err := cfg.From.Records(ctx, "", func(s refresh.Stored, err error) error {
		if err != nil {
			r.bad(err)
		} else {
			group.Go(func() error { return r.record(groupCtx, s) })
		}
		return groupCtx.Err()
	})
	if cause := group.Wait(); cause != nil { // it is what ended the reading
		err = cause
	}
	if err != nil {
		return r.counts, fmt.Errorf("restore records: %w", err)
	}
	return r.counts, nil
}

// record ends the run only where NATS does not answer; whatever is wrong with one record concerns no other.
func (r *run) record(ctx context.Context, s refresh.Stored) error {
	told, err := r.told(ctx, s.Record.Credential())
	if err != nil {
		return err
	}
	what, err := r.writer.Restore(ctx, s, r.known[s.Record.Provider], refresh.Restoration{
		TakenAt: r.cfg.Manifest.TakenAt, Now: r.cfg.To.Now(),
	}, told)
	switch {
	case err == nil:
		r.count(func(c *Counts) { c.add(what) })
	case enroll.OfTheRecord(err):
		r.bad(err)
	default:
		return err
	}
	return nil
}

// told is the newest event of a credential. One that cannot be read says nothing.
func (r *run) told(ctx context.Context, c events.Credential) (*events.Event, error) {
	e, ok, err := r.cfg.To.LastTold(ctx, c)
	switch {
	case errors.Is(err, events.ErrEvent):
		return nil, nil
	case err != nil || !ok:
		return nil, err
	}
	return &e, nil
}

func (c *Counts) add(what enroll.Restored) {
	c.Records++
	switch what {
	case enroll.RestoredAsItWas:
		c.AsTheyWere++
	case enroll.RestoredInDoubt:
		c.InDoubt++
	case enroll.RestoredWithdrawn:
		c.Withdrawn++
	case enroll.RestoredNot:
		c.Kept++
	}
}

func (r *run) count(change func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.counts)
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.counts)
	}
}

func (r *run) bad(err error) {
	r.count(func(c *Counts) {
		c.Records++
		c.Bad++
		if r.cfg.Fault != nil {
			r.cfg.Fault(err)
		}
	})
}

// providers writes the definitions that are missing, as they were: their secrets are bound to nothing that a restoration changes.
func (r *run) providers(ctx context.Context) error {
	all, err := r.cfg.From.Providers(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch {
		case all[name].Err != nil:
			r.bad(all[name].Err)
		default:
			if err := r.provider(ctx, name, all[name].Entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// provider leaves a definition that is there already, and takes its word for how records are treated.
func (r *run) provider(ctx context.Context, name string, e provider.Entry) error {
	have, revision, err := r.cfg.To.Provider(ctx, name)
	switch {
	case err == nil:
		e = have
		r.counts.ProvidersKept++
	case errors.Is(err, broker.ErrUnknownProvider):
		if _, err := r.cfg.To.PutProvider(ctx, name, e, revision); err != nil {
			return err
		}
		r.counts.Providers++
	default:
		return err
	}
	d := e.Definition
	r.known[name] = &d
	return nil
}
