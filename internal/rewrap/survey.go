package rewrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Place is where a ciphertext was found.
type Place string

// The places, in the order in which they are listed.
const (
	PlaceGrant    Place = "grants"        // of records
	PlaceAccess   Place = "access tokens" // of records
	PlaceProvider Place = "provider secrets"
	PlaceSession  Place = "enrolment sessions"
	PlaceJournal  Place = "journal entries"
	PlaceAside    Place = "journal entries set aside"
)

// Places lists all of them.
func Places() []Place {
	return []Place{PlaceGrant, PlaceAccess, PlaceProvider, PlaceSession, PlaceJournal, PlaceAside}
}

// Use is how many ciphertexts of one place need one key.
type Use struct {
	Key     uint32
	Place   Place
	Count   int
	Example string // what one of them belongs to
}

// Survey counts ciphertexts by the key that sealed them.
type Survey struct {
	// Faults are of what is stored and cannot be read, so that nobody knows which key it needs.
	Faults []error

	records map[string]recordKeys // by the record's key: it may be seen more than once, and the last time counts
	others  map[spot]*Use
}

type spot struct {
	key   uint32
	place Place
}

// recordKeys are the keys of a record's sealed fields, where it has them.
type recordKeys struct {
	grant, access       uint32
	hasGrant, hasAccess bool
	fault               error
}

// Take counts what is stored on NATS.
func Take(ctx context.Context, b *broker.Broker) (*Survey, error) {
	s := &Survey{records: make(map[string]recordKeys), others: make(map[spot]*Use)}
	all, err := b.Providers(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s.provider(name, all[name])
	}
	if err := b.Sweep(ctx, s.record, func() error { return nil }); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(s.records)) {
		if fault := s.records[key].fault; fault != nil {
			s.Faults = append(s.Faults, fault)
		}
	}
	err = b.Enrollments(ctx, func(key string, value []byte) { s.sealed(PlaceSession, key, value) })
	if errors.Is(err, broker.ErrNotSetUp) { // an earlier version set this up: there are none
		err = nil
	}
	return s, err
}

func (s *Survey) provider(name string, p broker.ListedProvider) {
	if p.Err != nil {
		s.Faults = append(s.Faults, p.Err)
		return
	}
	for _, c := range p.Entry.Sealed() {
		s.sealed(PlaceProvider, name, c)
	}
}

func (s *Survey) record(r refresh.Stored, err error) error {
	if err != nil {
		s.records[err.Error()] = recordKeys{fault: err}
		return nil
	}
	var k recordKeys
	var errGrant, errAccess error
	if k.hasGrant = len(r.Record.Grant) > 0; k.hasGrant {
		k.grant, errGrant = seal.KeyIDOf(r.Record.Grant)
	}
	if k.hasAccess = len(r.Record.Access) > 0; k.hasAccess {
		k.access, errAccess = seal.KeyIDOf(r.Record.Access)
	}
	if err := errors.Join(errGrant, errAccess); err != nil {
		k = recordKeys{fault: fmt.Errorf("record of %s: %w", r.Record.Credential(), err)}
	}
	s.records[r.Record.Credential().String()] = k
	return nil
}

// sealed counts a value; one that is not sealed needs no key.
func (s *Survey) sealed(p Place, name string, value []byte) {
	if id, err := seal.KeyIDOf(value); err == nil {
		tally(s.others, p, id, name)
	}
}

func tally(uses map[spot]*Use, p Place, id uint32, name string) {
	at := spot{id, p}
	if uses[at] == nil {
		uses[at] = &Use{Key: id, Place: p, Example: name}
	}
	uses[at].Count++
}

// journals are where a state directory has what is sealed: a worker's, which an exchanger had in earlier versions, and an exchanger's.
var journals = [...]string{"journal", "replies"}

// AddJournal counts the journal of a worker's or an exchanger's state directory, which may be at work. What a damaged journal has of
// bytes that cannot be read needs no key. Error: fs.ErrNotExist where there is no journal.
func (s *Survey) AddJournal(stateDir string) error {
	missing := 0
	for _, name := range journals {
		found, err := journal.Read(filepath.Join(stateDir, name), func(e journal.Entry) {
			s.sealed(PlaceJournal, e.Key+" in "+stateDir, e.Data)
		})
		if errors.Is(err, fs.ErrNotExist) {
			if missing++; missing < len(journals) {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("state directory %s: %w", stateDir, err)
		}
		for _, a := range found.Aside {
			s.sealed(PlaceAside, a.Key+" in "+stateDir, a.Data)
		}
	}
	return nil
}

// Uses lists what was counted, by place and then by key.
func (s *Survey) Uses() []Use {
	uses := maps.Clone(s.others)
	for _, name := range slices.Sorted(maps.Keys(s.records)) {
		if k := s.records[name]; k.fault == nil {
			if k.hasGrant {
				tally(uses, PlaceGrant, k.grant, name)
			}
			if k.hasAccess {
				tally(uses, PlaceAccess, k.access, name)
			}
		}
	}
	var all []Use
	for _, u := range uses {
		all = append(all, *u)
	}
	order := Places()
	slices.SortFunc(all, func(a, b Use) int {
		return cmp.Or(slices.Index(order, a.Place)-slices.Index(order, b.Place), cmp.Compare(a.Key, b.Key))
	})
	return all
}

// Of lists what needs one key.
func (s *Survey) Of(key uint32) []Use {
	return slices.DeleteFunc(s.Uses(), func(u Use) bool { return u.Key != key })
}

// Stale lists what needs another key than the primary ones. A keyset that is nil has no say about what it seals.
func (s *Survey) Stale(grant, access *seal.Keyset) []Use {
	return slices.DeleteFunc(s.Uses(), func(u Use) bool {
		k := grant
		if u.Place == PlaceAccess {
			k = access
		}
		return k == nil || u.Key == k.PrimaryID()
	})
}
