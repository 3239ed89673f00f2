package solo

import (
	"fmt"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Layout says how events look as lines of text. The zero value works.
type Layout struct {
	// NameWidth is how wide the column of names is at least, in bytes; 0: 16.
	NameWidth int
	// Date puts the day before the time of day, for what may be older than today.
	Date bool
}

// Line is an event in one line: when, what, whose, the version before and after, and what else is known. r is the
// attempt behind it, with what only its worker knows (how early it was, how long it took); nil: not known here.
func (l Layout) Line(e events.Event, r *refresh.Result) string {
	stamp := "15:04:05.000"
	if l.Date {
		stamp = time.DateOnly + " " + stamp
	}
	name := e.Data.Provider
	if e.Data.Account != "" {
		name = e.Data.Credential().String()
	}
	width := l.NameWidth
	if width == 0 {
		width = 16
	}
	head := fmt.Sprintf("%s  %-21s  %-*s", e.Time.Local().Format(stamp), e.Type, width, name)
	parts := append([]string{head}, details(e, r)...)
	return strings.TrimRight(strings.Join(parts, "  "), " ")
}

// details are the columns behind the name.
func details(e events.Event, r *refresh.Result) []string {
	d := e.Data
	if e.Type.AboutProvider() {
		return about(e)
	}
	parts := []string{fmt.Sprintf("%-9s", versions(e))}
	switch e.Type {
	case events.TokenUpdated:
		if r != nil {
			return append(parts, early(r.Margin), r.Worker, milliseconds(r.Total))
		}
		parts = append(parts, string(d.Reason), lives(e), teller(e))
	case events.TokenRefreshFailed, events.TokenReauthRequired:
		parts = append(parts, strings.TrimSpace(d.Class+" "+d.Code), again(e), teller(e))
		if r != nil {
			parts = append(parts, milliseconds(r.Total))
		}
	case events.TokenExpiring:
		parts = append(parts, ends(e))
	default: // its name says it
	}
	return without(parts, "")
}

// about is what is said of a lane.
func about(e events.Event) []string {
	parts := []string{"", string(e.Data.Reason)}
	if e.Data.By != "" {
		parts[0] = "by " + e.Data.By
	}
	if !e.Data.Until.IsZero() {
		parts = append(parts, "until "+e.Data.Until.Local().Format(time.TimeOnly))
	}
	return without(parts, "")
}

// versions is the version before and after. Each new access token is the next version, enrolments aside: there nothing
// may have been before.
func versions(e events.Event) string {
	d := e.Data
	switch {
	case d.Version == 0:
		return ""
	case e.Type == events.TokenUpdated && d.Reason != events.ReasonEnrolled && d.Version > 1:
		return fmt.Sprintf("v%d → v%d", d.Version-1, d.Version)
	}
	return fmt.Sprintf("v%d", d.Version)
}

func early(margin time.Duration) string {
	if margin < 0 {
		return fmt.Sprintf("%5.1fs AFTER expiry", -margin.Seconds())
	}
	return fmt.Sprintf("%5.1fs before expiry", margin.Seconds())
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// lives says how long a new token lives from its event on.
func lives(e events.Event) string {
	if e.Data.ExpiresAt.IsZero() {
		return "lives on"
	}
	return "lives " + tenths(e.Data.ExpiresAt.Sub(e.Time))
}

// ends says when a token that is about to end does, if the event says it.
func ends(e events.Event) string {
	if e.Data.ExpiresAt.IsZero() {
		return ""
	}
	left := e.Data.ExpiresAt.Sub(e.Time)
	if left < 0 {
		return "ended " + tenths(-left) + " ago"
	}
	return "ends in " + tenths(left)
}

// again says when the next attempt is.
func again(e events.Event) string {
	if e.Data.NextAttemptAt.IsZero() {
		return ""
	}
	return "again in " + tenths(max(e.Data.NextAttemptAt.Sub(e.Time), 0))
}

// tenths writes a duration as people read it: the seconds of a long one do not matter.
func tenths(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

// teller is who tells: the last part of the event's source.
func teller(e events.Event) string { return e.Source[strings.LastIndexByte(e.Source, '/')+1:] }

func without(parts []string, unwanted string) []string {
	var kept []string
	for _, p := range parts {
		if p != unwanted {
			kept = append(kept, p)
		}
	}
	return kept
}
