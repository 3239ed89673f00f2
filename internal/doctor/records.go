package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	// A credential that has been due for lateAfter waits for something; from veryLate on tokens end.
	lateAfter = time.Minute
	veryLate  = 10 * time.Minute
	// fewNames is how many credentials a line names.
	fewNames = 3
)

// census counts the records by what their headers say.
type census struct {
	now                                           time.Time
	all, ended, uncertain, people, unread, paused int
	due                                           int
	oldest                                        time.Time // refresh_at of the one that is due longest
	oldestKey                                     string
	names                                         []string // of records without readable headers
	resting                                       map[string]bool
}

func (c *census) count(s broker.Seen) {
	if s.Gone || s.Err == nil && (s.Summary.State == refresh.StateDeleted || s.Summary.State == refresh.StateRevoked) {
		return
	}
	c.all++
	switch {
	case s.Err != nil:
		if c.unread++; len(c.names) < fewNames {
			c.names = append(c.names, s.Key)
		}
		return
	case s.Summary.State == refresh.StateReauthRequired:
		c.people++
		return
	case s.Summary.State == refresh.StateUncertain:
		c.uncertain++
	}
	if end := s.Summary.ExpiresAt; !end.IsZero() && end.Before(c.now) {
		c.ended++
	}
	if s.Summary.Paused {
		c.paused++
		return
	}
	if name, _, _ := strings.Cut(s.Key, "."); c.resting[name] {
		return // its lane's line says so
	}
	if at := s.Summary.RefreshAt; !at.IsZero() && at.Before(c.now) {
		if c.due++; c.oldest.IsZero() || at.Before(c.oldest) {
			c.oldest, c.oldestKey = at, s.Key
		}
	}
}

// records reads all headers once.
func (e *examiner) records(ctx context.Context) {
	c := census{now: e.Broker.Now(), resting: e.resting}
	filter := ""
	if e.Scope.Provider != "" {
		filter = e.Scope.Provider + ".>"
	}
	if err := e.Broker.WatchRecords(ctx, broker.WatchConfig{Filter: filter, Once: true}, c.count, nil); err != nil {
		e.trouble("records", err)
		return
	}
	e.ok("records", "%d credentials, %d of them paused", c.all, c.paused)
	e.oldestDue(c)
	if c.ended > 0 {
		e.warn("expired", fmt.Sprintf("%d access tokens have ended without a successor", c.ended), "see freshet ls for their last failure, and the lines on lanes")
	}
	if c.uncertain > 0 {
		e.warn("uncertain", fmt.Sprintf("the outcome of the last attempt is unknown for %d credentials", c.uncertain), "nothing: they are tried again before their token ends; look for what killed a worker or the network")
	}
	if c.people > 0 {
		e.warn("people", fmt.Sprintf("%d credentials need somebody to log in again", c.people), "freshet ls shows reauth_required; freshet login PROVIDER/ACCOUNT")
	}
	if c.unread > 0 {
		e.warn("headers", fmt.Sprintf("%d records have no readable headers: %s", c.unread, quote(c.names, c.unread)), "nothing: a worker repairs them; look for who writes the bucket by other means")
	}
}

func (e *examiner) oldestDue(c census) {
	late := c.now.Sub(c.oldest)
	found := fmt.Sprintf("%d are due, %s for %v", c.due, c.oldestKey, late.Round(time.Second))
	const advice = "check that a scheduler and workers run, and the lines on lanes"
	switch {
	case c.due == 0:
		e.ok("due", "nothing waits")
	case late > veryLate:
		e.fail("due", found, advice)
	case late > lateAfter:
		e.warn("due", found, advice)
	default:
		e.ok("due", "%s", found)
	}
}

// unopened counts what does not open, and why.
type unopened struct {
	all, unknown, corrupt int
	names                 []string
}

func (u *unopened) add(name string, err error) {
	if u.all++; len(u.names) < fewNames {
		u.names = append(u.names, name)
	}
	if errors.Is(err, seal.ErrUnknownKey) {
		u.unknown++
	} else {
		u.corrupt++
	}
}

// keys opens every secret of every record with the keysets that there are.
func (e *examiner) keys(ctx context.Context) {
	if !e.Keys {
		return
	}
	if e.Grant == nil && e.Access == nil {
		e.warn("keys", "no keyset is given", "give --grant-keyset, --access-keyset or both")
		return
	}
	var grants, accesses unopened
	done, keys := 0, refresh.Keys{Bucket: e.Broker.Names().TokensBucket(), Grant: e.Grant, Access: e.Access}
	err := e.Broker.Records(ctx, "", func(s refresh.Stored, err error) error {
		if done++; e.Progress != nil {
			e.Progress(done)
		}
		if err != nil {
			grants.add(oneLine(err), err)
			return nil
		}
		if keys.Grant != nil {
			if _, err := keys.OpenGrant(&s.Record); err != nil {
				grants.add(s.Record.Credential().String(), err)
			}
		}
		if keys.Access != nil {
			if _, err := keys.OpenAccess(&s.Record); err != nil {
				accesses.add(s.Record.Credential().String(), err)
			}
		}
		return nil
	})
	if err != nil {
		e.trouble("keys", err)
		return
	}
	e.opened("grant keyset", e.Grant != nil, done, grants)
	e.opened("access keyset", e.Access != nil, done, accesses)
}

func (e *examiner) opened(name string, given bool, done int, u unopened) {
	switch {
	case u.all > 0:
		e.fail(name, fmt.Sprintf("%d of %d records do not open (%d need another key, %d are damaged): %s", u.all, done, u.unknown, u.corrupt, quote(u.names, u.all)),
			"give the keyset that has the key; for damaged ones: freshet login PROVIDER/ACCOUNT")
	case given:
		e.ok(name, "opens what it must of %d records", done)
	default:
		e.warn(name, "not given, so nothing was opened with it", "give --"+name[:len(name)-len(" keyset")]+"-keyset")
	}
}
