package dashboard

import (
	"math"
	"slices"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Row is what the index holds about one credential, all of it from the headers of its record. Times are whole seconds; zero:
// none, or not known.
type Row struct {
	Key            string
	State          refresh.State // empty: the record's headers cannot be read
	Paused         bool
	Generation     uint64 // at most 2^32-1, as is Version
	Version        uint64
	IssuedAt       time.Time
	ExpiresAt      time.Time
	RefreshAt      time.Time
	GrantExpiresAt time.Time
	FailureClass   refresh.Class // empty: the last attempt did not fail
	FailureCount   int           // at most 255
}

// NewRow makes a row of a record as a watch delivers it.
func NewRow(s broker.Seen) Row {
	if s.Err != nil {
		return Row{Key: s.Key}
	}
	m := s.Summary
	return Row{
		Key: s.Key, State: m.State, Paused: m.Paused, Generation: m.Generation, Version: m.Version, IssuedAt: m.IssuedAt,
		ExpiresAt: m.ExpiresAt, RefreshAt: m.RefreshAt, GrantExpiresAt: m.GrantExpiresAt,
		FailureClass: m.FailureClass, FailureCount: m.FailureCount,
	}
}

// Refreshable reports whether somebody will refresh it by themselves.
func (r Row) Refreshable() bool { return r.State.Refreshable() && !r.Paused }

// packed is a Row without its key in 28 bytes.
type packed struct {
	issued, expires, refresh, grantEnd uint32 // seconds since 1970; 0: none
	version, generation                uint32
	class                              uint8 // 1 + position in refresh.Classes; 0: none
	failures                           uint8
	flags                              uint8 // position in states, and flagPaused
	epoch                              uint8 // of the reading that saw it last
}

const (
	stateMask  = 0x0f
	flagPaused = 0x80
)

// states are numbered by their places here; a state of a newer version is number 0, not known.
func states() [7]refresh.State {
	return [...]refresh.State{
		"", refresh.StateActive, refresh.StateRetrying, refresh.StateUncertain, refresh.StateReauthRequired,
		refresh.StateRevoked, refresh.StateDeleted,
	}
}

// numberReauth is the place of StateReauthRequired; those before it, but for number 0, are refreshed.
const numberReauth = 4

func stateNumber(s refresh.State) uint8 {
	all := states()
	return uint8(max(slices.Index(all[:], s), 0))
}

func (r Row) pack(epoch uint8) packed {
	p := packed{
		issued: seconds(r.IssuedAt), expires: seconds(r.ExpiresAt), refresh: seconds(r.RefreshAt), grantEnd: seconds(r.GrantExpiresAt),
		version: uint32(min(r.Version, math.MaxUint32)), generation: uint32(min(r.Generation, math.MaxUint32)),
		failures: uint8(min(max(r.FailureCount, 0), math.MaxUint8)),
		flags:    stateNumber(r.State), epoch: epoch,
	}
	if r.FailureClass != "" {
		p.class = uint8(slices.Index(refresh.Classes(), r.FailureClass) + 1)
	}
	if r.Paused {
		p.flags |= flagPaused
	}
	return p
}

func (p packed) row(key []byte) Row {
	r := Row{
		Key: string(key), State: states()[p.flags&stateMask], Paused: p.flags&flagPaused != 0, Generation: uint64(p.generation),
		Version: uint64(p.version), IssuedAt: instant(p.issued), ExpiresAt: instant(p.expires), RefreshAt: instant(p.refresh),
		GrantExpiresAt: instant(p.grantEnd), FailureCount: int(p.failures),
	}
	if p.class > 0 {
		r.FailureClass = refresh.Classes()[p.class-1]
	}
	return r
}

// seconds counts from 1970, within what 32 bits hold; 0 for the zero time.
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix(), 1), math.MaxUint32))
}

func instant(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}
