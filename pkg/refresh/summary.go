package refresh

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// Summary is what a scheduler needs to know of a record. It travels in the headers of the
// record's message, so that a scheduler reads headers only and holds no key.
type Summary struct {
	State          State
	Paused         bool
	GrantID        string
	Generation     uint64
	Version        uint64
	IssuedAt       time.Time
	RefreshAt      time.Time
	ExpiresAt      time.Time
	GrantExpiresAt time.Time
	FailureClass   Class
	FailureCount   int
	Policy         Policy
	// Announce is set on a write that no job covers: every scheduler that sees it tells Announce about the record.
	Announce Announcement
}

// Announcement is the event that a write without a job stands for. The zero value means none.
type Announcement struct {
	Type   events.Type
	Reason events.Reason
}

// The header names of a record's message.
const (
	headerState        = "Freshet-State"
	headerPaused       = "Freshet-Paused"
	headerGrant        = "Freshet-Grant-Id"
	headerGeneration   = "Freshet-Generation"
	headerVersion      = "Freshet-Version"
	headerIssued       = "Freshet-Issued-At"
	headerRefresh      = "Freshet-Refresh-At"
	headerExpires      = "Freshet-Expires-At"
	headerGrantExpires = "Freshet-Grant-Expires-At"
	headerFailure      = "Freshet-Failure"
	headerCron         = "Freshet-Cron"
	headerKeepAlive    = "Freshet-Keep-Alive"
	headerAnnounce     = "Freshet-Announce"
)

// ErrNoSummary says that a message carries none of the headers, as when somebody wrote the bucket by
// hand. Such a record is due now; the worker that gets it repairs the headers.
var ErrNoSummary = errors.New("no freshet headers")

// Summary returns what the record's headers must say; announce is zero for a write that a job covers.
func (r *Record) Summary(announce Announcement) Summary {
	s := Summary{
		State: r.State, Paused: r.Paused != nil, GrantID: r.GrantID, Generation: r.Generation, Version: r.Version,
		IssuedAt: r.IssuedAt, RefreshAt: r.RefreshAt, ExpiresAt: r.ExpiresAt, GrantExpiresAt: r.GrantExpiresAt,
		Announce: announce,
	}
	if r.Failure != nil {
		s.FailureClass, s.FailureCount = r.Failure.Class, r.Failure.Count
	}
	if r.Policy != nil {
		s.Policy = *r.Policy
	}
	return s
}

// Header returns the summary as message headers. Empty fields are left out.
func (s Summary) Header() map[string][]string {
	h := make(map[string][]string, 14) // with what a write adds; two more would double it
	values := make([]string, 0, 13)    // one piece of memory for all of them
	set := func(name, value string) {
		if n := len(values); value != "" {
			values = append(values, value)
			h[name] = values[n : n+1 : n+1]
		}
	}
	set(headerState, string(s.State))
	if s.Paused {
		set(headerPaused, "true")
	}
	set(headerGrant, s.GrantID)
	set(headerGeneration, strconv.FormatUint(s.Generation, 10))
	set(headerVersion, strconv.FormatUint(s.Version, 10))
	set(headerIssued, formatTime(s.IssuedAt))
	set(headerRefresh, formatTime(s.RefreshAt))
	set(headerExpires, formatTime(s.ExpiresAt))
	set(headerGrantExpires, formatTime(s.GrantExpiresAt))
	if s.FailureClass != "" {
		set(headerFailure, string(s.FailureClass)+" "+strconv.Itoa(s.FailureCount))
	}
	set(headerCron, s.Policy.Cron)
	if s.Policy.KeepAlive != 0 {
		set(headerKeepAlive, s.Policy.KeepAlive.Std().String())
	}
	if s.Announce != (Announcement{}) {
		set(headerAnnounce, string(s.Announce.Type)+" "+string(s.Announce.Reason))
	}
	return h
}

// ParseSummary reads the headers of a record's message. It fails with ErrNoSummary where there are none, and
// names the first header it cannot read.
func ParseSummary(h map[string][]string) (Summary, error) {
	p := headerParser{h: h}
	if p.text(headerState) == "" {
		return Summary{}, ErrNoSummary
	}
	s := Summary{
		State: State(p.text(headerState)), Paused: p.text(headerPaused) != "", GrantID: p.text(headerGrant),
		Generation: p.number(headerGeneration), Version: p.number(headerVersion),
		IssuedAt: p.time(headerIssued), RefreshAt: p.time(headerRefresh), ExpiresAt: p.time(headerExpires),
		GrantExpiresAt: p.time(headerGrantExpires),
		Policy:         Policy{Cron: p.text(headerCron), KeepAlive: provider.Duration(p.duration(headerKeepAlive))},
	}
	class, count := p.pair(headerFailure)
	s.FailureClass = Class(class)
	if count != "" {
		s.FailureCount, _ = strconv.Atoi(count) // only a hint: a scheduler counts first failures
	}
	what, why := p.pair(headerAnnounce)
	s.Announce = Announcement{Type: events.Type(what), Reason: events.Reason(why)}
	return s, p.err
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// headerParser reads typed headers and keeps the first error.
type headerParser struct {
	h   map[string][]string
	err error
}

func (p *headerParser) text(name string) string {
	if v := p.h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (p *headerParser) fail(name string, err error) {
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("header %s: %w", name, err)
	}
}

func (p *headerParser) number(name string) uint64 {
	n, err := strconv.ParseUint(p.text(name), 10, 64)
	p.fail(name, err)
	return n
}

func (p *headerParser) time(name string) time.Time {
	v := p.text(name)
	if v == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	p.fail(name, err)
	return t
}

func (p *headerParser) duration(name string) time.Duration {
	v := p.text(name)
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	p.fail(name, err)
	return d
}

func (p *headerParser) pair(name string) (first, second string) {
	v := p.text(name)
	for i := range len(v) {
		if v[i] == ' ' {
			return v[:i], v[i+1:]
		}
	}
	return v, ""
}
