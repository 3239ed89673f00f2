package telemetry

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// worker counts what a worker does.
type worker struct {
	refreshes *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	exchange  *prometheus.HistogramVec
	margin    *prometheus.HistogramVec
	wait      *prometheus.HistogramVec
	told      *prometheus.CounterVec
	lag       *prometheus.HistogramVec
	late      prometheus.Counter

	series *seriesTable
}

// requestBuckets are in seconds: a provider answers within tens of milliseconds, or at its timeout (20 s by default).
func requestBuckets() []float64 {
	return []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 60}
}

// marginBuckets are in seconds: at 0 and below the old token had ended before the new one was there.
func marginBuckets() []float64 {
	return []float64{-3600, -300, -60, 0, 5, 15, 60, 150, 300, 600, 900, 1800, 3600}
}

// lagBuckets are in seconds: the scheduler looks once a second; a backlog is worked off in minutes.
func lagBuckets() []float64 {
	return []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900}
}

func newWorker() worker {
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{labelProvider})
	}
	w := worker{
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_refresh_total", Help: "Jobs that a worker brought to an end, by outcome class.",
		}, []string{labelProvider, labelOutcome}),
		duration: histogram("freshet_refresh_duration_seconds", "From a job's arrival at a worker to its end, where there was an attempt.", requestBuckets()),
		exchange: histogram("freshet_exchange_duration_seconds", "How long the token endpoint took to answer, or not to.", requestBuckets()),
		margin:   histogram("freshet_refresh_margin_seconds", "How long before the old access token's end the new one was stored; 0 or less: too late.", marginBuckets()),
		wait:     histogram("freshet_queue_wait_seconds", "How long a job was on the queue before a worker took it, by NATS time.", lagBuckets()),
		told: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_events_total", Help: "Events that the stream has taken from this process.",
		}, []string{labelProvider, labelType}),
		lag: histogram("freshet_event_lag_seconds", "From the making of an event, right after its commit, to its acknowledgement by the stream.", lagBuckets()),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_late_replies_total", Help: "Replies that came when the record had moved on or gone, and are kept sealed in the journal.",
		}),
	}
	w.series = newSeriesTable(w.resolve)
	return w
}

func (w *worker) collectors() []prometheus.Collector {
	return []prometheus.Collector{w.refreshes, w.duration, w.exchange, w.margin, w.wait, w.told, w.lag, w.late}
}

// series are one provider's, resolved once.
type series struct {
	refreshes map[refresh.Class]prometheus.Counter
	told      map[events.Type]prometheus.Counter

	duration, exchange, margin, wait, lag prometheus.Observer
}

func (w *worker) resolve(provider string) *series {
	s := &series{
		refreshes: make(map[refresh.Class]prometheus.Counter), told: make(map[events.Type]prometheus.Counter),
		duration: w.duration.WithLabelValues(provider), exchange: w.exchange.WithLabelValues(provider),
		margin: w.margin.WithLabelValues(provider), wait: w.wait.WithLabelValues(provider), lag: w.lag.WithLabelValues(provider),
	}
	for _, c := range refresh.Classes() {
		s.refreshes[c] = w.refreshes.WithLabelValues(provider, string(c))
	}
	for _, t := range events.Types() {
		s.told[t] = w.told.WithLabelValues(provider, string(t))
	}
	return s
}

// Result counts a job's end. It takes well below a microsecond.
func (t *Telemetry) Result(r refresh.Result) {
	s := t.worker.series.of(r.Credential.Provider)
	if c := s.refreshes[r.Class]; c != nil {
		c.Inc()
	}
	if errors.Is(r.Err, refresh.ErrLateReply) || errors.Is(r.Err, refresh.ErrNoRecord) {
		t.worker.late.Inc()
	}
	if r.Attempt == "" {
		return
	}
	s.duration.Observe(r.Total.Seconds())
	if r.Exchange > 0 {
		s.exchange.Observe(r.Exchange.Seconds())
	}
	if r.Class == refresh.ClassOK && r.After > r.Before && r.Margin != 0 {
		s.margin.Observe(r.Margin.Seconds())
	}
}

// Taken counts a job that a worker took off the queue.
func (t *Telemetry) Taken(provider string, waited time.Duration) {
	t.worker.series.of(provider).wait.Observe(max(waited, 0).Seconds())
}

// Told counts an event that the stream has acknowledged.
func (t *Telemetry) Told(e events.Event, took time.Duration) {
	s := t.worker.series.of(e.Data.Provider)
	if c := s.told[e.Type]; c != nil {
		c.Inc()
	}
	s.lag.Observe(max(took, 0).Seconds())
}

// seriesTable finds a provider's series without a lock.
type seriesTable struct {
	resolve func(provider string) *series

	mu    sync.Mutex // held while the table is replaced
	known atomic.Pointer[map[string]*series]
}

func newSeriesTable(resolve func(string) *series) *seriesTable {
	t := &seriesTable{resolve: resolve}
	t.known.Store(&map[string]*series{})
	return t
}

func (t *seriesTable) of(provider string) *series {
	if s := (*t.known.Load())[provider]; s != nil {
		return s
	}
	return t.add(provider)
}

func (t *seriesTable) add(provider string) *series {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := *t.known.Load()
	if len(known) >= maxProviders {
		provider = otherProviders
	}
	if s := known[provider]; s != nil {
		return s
	}
	next := make(map[string]*series, len(known)+1)
	for name, s := range known {
		next[name] = s
	}
	s := t.resolve(provider)
	next[provider] = s
	t.known.Store(&next)
	return s
}
