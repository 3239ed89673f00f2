package telemetry

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/journal"
	"github.com/freshetdev/freshet/internal/schedule"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// Source is what a part of the process can be asked for when somebody scrapes. Nil functions are not asked. They must
// not block for long.
type Source struct {
	// NATS is whether the connection stands, and how often it had to be made again.
	NATS func() (connected bool, reconnects uint64)
	// Offset is how far NATS time is ahead of this machine's.
	Offset func() time.Duration
	// Journal is a worker's.
	Journal func() journal.Stats
	// Held is how many outcomes an exchanger keeps for its workers, and InFlight how many requests it makes.
	Held, InFlight func() int
	// Schedule is a scheduler's index.
	Schedule func() schedule.Stats
	// Lanes are the lanes as they were last asked for.
	Lanes func() map[string]broker.LaneInfo
}

// sources are the parts of a process. Where several tell the same they are added up, but for the connection, which stands if all do.
type sources struct {
	mu  sync.Mutex
	all []*Source
}

// Show adds a part of the process, until hide is called.
func (t *Telemetry) Show(s Source) (hide func()) {
	p := &t.sources
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, &s)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all = slices.DeleteFunc(p.all, func(other *Source) bool { return other == &s })
	}
}

func (p *sources) list() []*Source {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// gauge is a family whose values are asked for.
type gauge struct {
	name, help string
	labels     []string
	kind       prometheus.ValueType
}

func (g gauge) desc() *prometheus.Desc { return prometheus.NewDesc(g.name, g.help, g.labels, nil) }

// The families that sources fill.
const (
	natsConnected  = "freshet_nats_connected"
	natsReconnects = "freshet_nats_reconnects_total"
	clockOffset    = "freshet_clock_offset_seconds"
	journalEntries = "freshet_journal_entries"
	journalBytes   = "freshet_journal_bytes"
	exchangerHeld  = "freshet_exchanger_held"
	exchangerBusy  = "freshet_exchanger_in_flight"
	credentials    = "freshet_credentials"
	scheduleLive   = "freshet_schedule_live"
	scheduleDue    = "freshet_schedule_due"
	lanePending    = "freshet_lane_pending"
	laneInFlight   = "freshet_lane_ack_pending"
	laneLimit      = "freshet_lane_max_ack_pending"
	lanePaused     = "freshet_lane_paused"
)

func gauges() []gauge {
	lane := []string{labelProvider}
	const value, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []gauge{
		{natsConnected, "1 while the connection to NATS stands.", nil, value},
		{natsReconnects, "How often the connection to NATS was made again.", nil, counter},
		{clockOffset, "How far NATS time is ahead of this machine's.", nil, value},
		{journalEntries, "Outcomes in the worker's journal: pending (not known to be committed), recent (committed, kept for a while), aside (replies that could not be committed), unreadable (damaged stretches).", []string{labelState}, value},
		{journalBytes, "Size of the journal's files.", []string{labelFile}, value},
		{exchangerHeld, "Outcomes that an exchanger keeps until a worker has fetched them.", nil, value},
		{exchangerBusy, "Token requests that an exchanger is making.", nil, value},
		{credentials, "Credentials by state, as this scheduler sees them; unknown: without readable headers.", []string{labelProvider, labelState}, value},
		{scheduleLive, "1 while the scheduler has read all records and follows their changes.", nil, value},
		{scheduleDue, "Credentials that are due and wait for room in their lane.", lane, value},
		{lanePending, "Jobs on the queue that no worker has taken.", lane, value},
		{laneInFlight, "Jobs that workers have in hand.", lane, value},
		{laneLimit, "How many jobs may be in hand: the provider's concurrency over the whole fleet.", lane, value},
		{lanePaused, "1 while the lane is paused.", lane, value},
	}
}

// Describe implements prometheus.Collector.
func (p *sources) Describe(out chan<- *prometheus.Desc) {
	for _, g := range gauges() {
		out <- g.desc()
	}
}

// Collect implements prometheus.Collector.
func (p *sources) Collect(out chan<- prometheus.Metric) {
	r := reading{}
	for _, s := range p.list() {
		r.read(s)
	}
	for _, g := range gauges() {
		for labels, v := range r[g.name] {
			out <- prometheus.MustNewConstMetric(g.desc(), g.kind, v, slices.Clone(labels[:len(g.labels)])...)
		}
	}
}

// reading is what a scrape finds: by family, by the values of its labels.
type reading map[string]map[[2]string]float64

func (r reading) add(name string, v float64, labels ...string) {
	var key [2]string
	copy(key[:], labels)
	if r[name] == nil {
		r[name] = make(map[[2]string]float64)
	}
	r[name][key] += v
}

// all notes a truth that must hold everywhere.
func (r reading) all(name string, yes bool) {
	v, told := r[name][[2]string{}]
	if r[name] == nil {
		r[name] = make(map[[2]string]float64)
	}
	r[name][[2]string{}] = truth(yes && (!told || v == 1))
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (r reading) read(s *Source) {
	if s.NATS != nil {
		connected, reconnects := s.NATS()
		r.all(natsConnected, connected)
		r.add(natsReconnects, float64(reconnects))
	}
	if s.Offset != nil {
		delete(r, clockOffset) // one server, one machine: the parts of a process agree
		r.add(clockOffset, s.Offset().Seconds())
	}
	if s.Journal != nil {
		r.readJournal(s.Journal())
	}
	if s.Held != nil {
		r.add(exchangerHeld, float64(s.Held()))
	}
	if s.InFlight != nil {
		r.add(exchangerBusy, float64(s.InFlight()))
	}
	if s.Schedule != nil {
		r.readSchedule(s.Schedule())
	}
	if s.Lanes != nil {
		r.readLanes(s.Lanes())
	}
}

func (r reading) readJournal(s journal.Stats) {
	r.add(journalEntries, float64(s.Pending), "pending")
	r.add(journalEntries, float64(s.Recent), "recent")
	r.add(journalEntries, float64(s.Aside), "aside")
	r.add(journalEntries, float64(s.Unreadable), "unreadable")
	r.add(journalBytes, float64(s.Bytes), "journal")
	r.add(journalBytes, float64(s.AsideBytes), "aside")
}

func (r reading) readSchedule(s schedule.Stats) {
	r.all(scheduleLive, s.Live)
	for provider, p := range s.Providers {
		for _, state := range []refresh.State{refresh.StateActive, refresh.StateRetrying, refresh.StateUncertain, refresh.StateReauthRequired} {
			r.add(credentials, 0, provider, string(state)) // so that what is over is seen to be 0
		}
		for state, n := range p.States {
			if state == "" {
				state = "unknown"
			}
			r.add(credentials, float64(n), provider, string(state))
		}
		r.add(scheduleDue, float64(p.Due), provider)
	}
}

func (r reading) readLanes(lanes map[string]broker.LaneInfo) {
	for provider, l := range lanes {
		r.add(lanePending, float64(l.Pending), provider)
		r.add(laneInFlight, float64(l.AckPending), provider)
		r.add(laneLimit, float64(l.MaxAckPending), provider)
		r.add(lanePaused, truth(l.Paused && (l.PausedUntil.IsZero() || time.Now().Before(l.PausedUntil))), provider)
	}
}
