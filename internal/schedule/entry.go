package schedule

import (
	"math"
	"slices"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Entry is what the index holds about one record. Times are kept to the second: when something is due is rounded up, because a
// job that comes early is not due yet, but for refresh.Early where the record is healthy; when something ends is rounded down.
type Entry struct {
	GrantID    string // empty when the record's headers do not tell it
	Generation uint64
	Version    uint64
	Revision   uint64 // KV revision, below 2^48
	State      refresh.State
	// Due is when a job is due, and Reason is the job's; zero: never.
	Due    time.Time
	Reason events.Reason
	// ExpiresAt is the token's end; zero: none.
	ExpiresAt time.Time
	// ExpiringAt is when token.expiring is told, at most a minute before ExpiresAt; zero: never.
	ExpiringAt time.Time
	// GrantExpiresAt is the grant's end; zero: none or not known.
	GrantExpiresAt time.Time
	// ReauthAt is when token.reauth_required is told, whole minutes and at most 45 days before GrantExpiresAt; zero: never.
	ReauthAt time.Time
	// Announce is told as soon as may be; zero: nothing.
	Announce refresh.Announcement
}

// Job returns the job that the entry asks for.
func (e Entry) Job() refresh.Job {
	j := refresh.Job{Reason: e.Reason, GrantID: e.GrantID, NewerThan: e.Version}
	if e.Reason == events.ReasonCron || e.Reason == events.ReasonKeepAlive {
		j.IssuedAfter = e.Due
	}
	return j
}

// packed is an Entry in 52 bytes without pointers, and its place in the wheel.
type packed struct {
	next, prev uint32 // neighbours in a slot of the wheel; see wheel
	key        uint32 // in the arena
	due        uint32 // seconds since 1970; 0: never
	expiry     uint32
	grantEnd   uint32
	version    uint32
	revLow     uint32
	revHigh    uint16
	flags      flags
	grantLead  uint16 // minutes from ReauthAt to grantEnd; 0: nothing to tell
	grant      [10]byte
	generation uint8
	epoch      uint8 // when it was seen last; 0: the number is free
	announce   uint8 // 1 + position in Index.announcements; 0: nothing to tell
	tries      uint8 // jobs asked for since the entry changed, saturating
}

// odd holds what does not fit into packed: grant ids of another make, enormous numbers, states of a newer version.
type odd struct {
	grantID             string
	state               refresh.State
	generation, version uint64
}

// flags is, from the lowest bit: state (3 bits), reason (2), seconds from ExpiringAt to the expiry (6), and single bits.
type flags uint16

const (
	stateBits, reasonBits, leadBits = 3, 2, 6
	reasonShift                     = stateBits
	leadShift                       = reasonShift + reasonBits
)

const (
	flagReady        flags = 1 << (leadShift + leadBits + iota) // handed out by Due, not taken yet
	flagToldExpiring                                            // token.expiring was told, or it is too late
	flagToldReauth                                              // token.reauth_required was told, or it is too late
	flagNoGrant                                                 // the grant id is empty
	flagOdd                                                     // the rest is in Index.odds
)

func (f flags) has(bit flags) bool { return f&bit != 0 }

func (f flags) state() int { return int(f & (1<<stateBits - 1)) }

func (f flags) reason() int { return int(f >> reasonShift & (1<<reasonBits - 1)) }

// lead is the number of seconds from ExpiringAt to the expiry.
func (f flags) lead() uint32 { return uint32(f >> leadShift & (1<<leadBits - 1)) }

// states and reasons are numbered by their places here; other states are odd.
func states() [7]refresh.State {
	return [...]refresh.State{
		"", refresh.StateActive, refresh.StateRetrying, refresh.StateUncertain, refresh.StateReauthRequired,
		refresh.StateRevoked, refresh.StateDeleted,
	}
}

func reasons() [3]events.Reason {
	return [...]events.Reason{events.ReasonScheduled, events.ReasonCron, events.ReasonKeepAlive}
}

// pack fills everything but the key, the place in the wheel, the epoch and the announcement. The second
// result is what did not fit; ok is false when everything did.
func (e Entry) pack() (p packed, rest odd, ok bool) {
	all, why := states(), reasons()
	state := slices.Index(all[:], e.State)
	p = packed{
		due: e.dueSecond(), expiry: seconds(e.ExpiresAt), grantEnd: seconds(e.GrantExpiresAt),
		version: uint32(e.Version), generation: uint8(e.Generation),
		revLow: uint32(e.Revision), revHigh: uint16(e.Revision >> 32),
	}
	var packable bool
	p.grant, packable = refresh.PackGrantID(e.GrantID)
	if e.GrantID == "" {
		p.flags, packable = flagNoGrant, true
	}
	if !packable || state < 0 || e.Version > math.MaxUint32 || e.Generation > math.MaxUint8 {
		p.flags |= flagOdd
		rest, ok = odd{e.GrantID, e.State, e.Generation, e.Version}, true
	}
	p.flags |= flags(max(state, 0)) | flags(max(slices.Index(why[:], e.Reason), 0))<<reasonShift
	p.flags |= flags(lead(e.ExpiringAt, e.ExpiresAt, time.Second, 1<<leadBits-1)) << leadShift
	p.grantLead = uint16(lead(e.ReauthAt, e.GrantExpiresAt, time.Minute, math.MaxUint16))
	return p, rest, ok
}

// lead is the time from at to end in units, at least one and at most most; 0 when there is nothing to tell.
func lead(at, end time.Time, unit time.Duration, most int64) int64 {
	if at.IsZero() || end.IsZero() {
		return 0
	}
	return min(max(int64(end.Sub(at)/unit), 1), most)
}

// unpack is the inverse of pack; the announcement is not in it.
func (p *packed) unpack(rest odd) Entry {
	e := Entry{
		Generation: uint64(p.generation), Version: uint64(p.version), Revision: p.revision(),
		State: states()[p.flags.state()], Due: instant(p.due), Reason: reasons()[p.flags.reason()],
		ExpiresAt: instant(p.expiry), ExpiringAt: instant(p.expiringAt()),
		GrantExpiresAt: instant(p.grantEnd), ReauthAt: instant(p.reauthAt()),
	}
	switch {
	case p.flags.has(flagOdd):
		e.GrantID, e.State, e.Generation, e.Version = rest.grantID, rest.state, rest.generation, rest.version
	case !p.flags.has(flagNoGrant):
		e.GrantID = refresh.UnpackGrantID(p.grant)
	}
	return e
}

func (p *packed) revision() uint64 { return uint64(p.revHigh)<<32 | uint64(p.revLow) }

// expiringAt is when token.expiring is told, whether it was already or not; 0: never.
func (p *packed) expiringAt() uint32 {
	if p.flags.lead() == 0 {
		return 0
	}
	return max(p.expiry, p.flags.lead()+1) - p.flags.lead()
}

// reauthAt is the same for token.reauth_required.
func (p *packed) reauthAt() uint32 {
	ahead := uint32(p.grantLead) * 60
	if ahead == 0 {
		return 0
	}
	return max(p.grantEnd, ahead+1) - ahead
}

// work is what there is to do at a second, beside the announcement, which waits in a line of its own.
func (p *packed) work(now uint32) Work {
	var w Work
	if p.due != 0 && p.due <= now && !p.flags.has(flagReady) {
		w |= WorkJob
	}
	// While nobody has been asked for a new token yet, it may come in time: the entry comes again.
	asked := w&WorkJob == 0 || p.tries > 0
	if at := p.expiringAt(); asked && at != 0 && at <= now && !p.flags.has(flagToldExpiring) {
		w |= WorkExpiring
	}
	if at := p.reauthAt(); at != 0 && at <= now && !p.flags.has(flagToldReauth) {
		w |= WorkReauth
	}
	return w
}

// wakes is the first second at which there is something to do, never when there is none.
func (p *packed) wakes() uint32 { return min(p.asks(), p.tells()) }

// asks is the second at which a job is to be handed out.
func (p *packed) asks() uint32 {
	if p.due == 0 || p.flags.has(flagReady) {
		return never
	}
	return p.due
}

// tells is the first second at which an end is to be told.
func (p *packed) tells() uint32 {
	at := uint32(never)
	if t := p.expiringAt(); t != 0 && !p.flags.has(flagToldExpiring) {
		at = min(at, t)
	}
	if t := p.reauthAt(); t != 0 && !p.flags.has(flagToldReauth) {
		at = min(at, t)
	}
	return at
}

// never is a second that does not come: 2106-02-07.
const never = math.MaxUint32

// seconds counts from 1970, rounded down, between 1 and never-1; 0 for the zero time.
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix(), 1), never-1))
}

// dueSecond is the first second at which the entry's job may be published. Only the time of a scheduled refresh is a wish; a
// backoff, a quarantine and the moment at which nothing is left to lose are bounds.
func (e Entry) dueSecond() uint32 {
	part := time.Duration(e.Due.Nanosecond())
	if part > refresh.Early || part > 0 && e.State != refresh.StateActive {
		return seconds(e.Due.Add(time.Second - part))
	}
	return seconds(e.Due)
}

func instant(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}
