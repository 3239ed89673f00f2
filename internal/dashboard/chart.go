package dashboard

import (
	"fmt"
	"time"
)

// chart is a row of bars. Everything that it says is in its text as well.
type chart struct {
	Text        string // what it shows, in words
	Left, Right string // below its ends
	Top         string // how much the highest bar is
	Width       int
	Rects       []rect
	Key         []legend
}

type rect struct {
	X, Y, W, H int
	Class      string
	Title      string // on hovering
}

type legend struct{ Class, Text string }

const (
	chartHeight = 64
	barStep     = 10 // from one bar to the next
	barWidth    = 8
)

// height scales a count so that the highest fills the chart, and one is still seen.
func height(n, most int) int {
	if n == 0 || most == 0 {
		return 0
	}
	return max(n*chartHeight/most, 2)
}

// scheduleChart shows when refreshes are due.
func scheduleChart(s Survey, now time.Time) chart {
	ahead, bars := s.Horizon()
	c := chart{Left: "now", Right: "in " + span(ahead), Width: bins * barStep}
	most, when := 0, 0
	for i, n := range bars {
		if n > most {
			most, when = n, i
		}
	}
	step := ahead / bins
	for i, n := range bars {
		if n > 0 {
			h := height(n, most)
			c.Rects = append(c.Rects, rect{i * barStep, chartHeight - h, barWidth, h, "ok", fmt.Sprintf("in %s: %s", span(time.Duration(i)*step), grouped(n))})
		}
	}
	if most == 0 {
		c.Text = "No refresh is due within 24 hours."
		return c
	}
	c.Top = grouped(most)
	c.Text = fmt.Sprintf("%s due within %s, most of them (%s) around %s.", refreshes(sum(bars)), span(ahead), grouped(most),
		now.Add(time.Duration(when)*step).UTC().Format("15:04:05 UTC"))
	return c
}

func refreshes(n int) string {
	if n == 1 {
		return "1 refresh"
	}
	return grouped(n) + " refreshes"
}

// outcomeChart shows what attempts came to.
func outcomeChart(back time.Duration, bars [outcomeBars]Outcomes) chart {
	c := chart{
		Left: span(back) + " ago", Right: "now", Width: outcomeBars * barStep,
		Key: []legend{{"ok", "renewed"}, {"warn", "failed, tried again"}, {"bad", "rejected, or misconfigured"}},
	}
	most := 0
	for _, o := range bars {
		most = max(most, o.total())
	}
	if most == 0 {
		c.Text = "No attempt in the last hour."
		return c
	}
	for i, o := range bars {
		c.stack(i, o, most)
	}
	total := sumUp(bars)
	c.Top = grouped(most)
	c.Text = fmt.Sprintf("In the last hour %s renewed, %s failed and tried again, %s rejected or misconfigured.",
		grouped(total.Renewed), grouped(total.Passing), grouped(total.Failing))
	return c
}

// stack puts the parts of one bar on each other.
func (c *chart) stack(i int, o Outcomes, most int) {
	title := fmt.Sprintf("%d renewed, %d tried again, %d rejected", o.Renewed, o.Passing, o.Failing)
	y := chartHeight
	for _, b := range []struct {
		n     int
		class string
	}{{o.Failing, "bad"}, {o.Passing, "warn"}, {o.Renewed, "ok"}} {
		if h := min(height(b.n, most), y); h > 0 {
			y -= h
			c.Rects = append(c.Rects, rect{i * barStep, y, barWidth, h, b.class, title})
		}
	}
}

// bar is how much of a token's life is left.
type bar struct {
	Left  int // percent
	Mark  int // where it will be when the refresh is due; below 0: nowhere
	Class string
}

// lifeBar is nil for a token without an end, or of which it is not known how long it lives.
func lifeBar(r Row, now time.Time) *bar {
	life := r.ExpiresAt.Sub(r.IssuedAt)
	if r.ExpiresAt.IsZero() || r.IssuedAt.IsZero() || life <= 0 || r.State.Withdrawn() {
		return nil
	}
	percent := func(t time.Time) int {
		return int(min(max(100*(r.ExpiresAt.Sub(t).Seconds()/life.Seconds()), 0), 100)) // a hundred times a few years is no Duration
	}
	b := &bar{Left: percent(now), Mark: -1, Class: "ok"}
	if !r.RefreshAt.IsZero() && r.Refreshable() {
		b.Mark = percent(r.RefreshAt)
	}
	switch {
	case b.Left == 0:
		b.Class = "bad"
	case !r.Refreshable(), now.After(r.RefreshAt.Add(lateAfter)):
		b.Class = "warn"
	}
	return b
}

// lateAfter is how long after its time a refresh is worth a second look.
const lateAfter = 10 * time.Second
