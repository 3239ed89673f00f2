package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshetdev/freshet/pkg/events"
)

// scheduling counts what a scheduler does.
type scheduling struct {
	jobs   *prometheus.CounterVec
	lag    prometheus.Histogram
	faults prometheus.Counter
	read   prometheus.Gauge
}

func newScheduling() scheduling {
	return scheduling{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_schedule_jobs_total", Help: "Jobs that a scheduler put on the queue.",
		}, []string{labelProvider, labelReason}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freshet_schedule_lag_seconds", Help: "How long after a refresh was due its job was published for the first time.", Buckets: lagBuckets(),
		}),
		faults: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_schedule_errors_total", Help: "Troubles that a scheduler reported in its log.",
		}),
		read: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_schedule_read_seconds", Help: "How long the last reading of all records took.",
		}),
	}
}

func (s *scheduling) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.jobs, s.lag, s.faults, s.read}
}

// Published counts a job.
func (t *Telemetry) Published(provider string, reason events.Reason) {
	t.scheduling.jobs.WithLabelValues(provider, string(reason)).Inc()
}

// Lag counts how late a job was.
func (t *Telemetry) Lag(d time.Duration) { t.scheduling.lag.Observe(max(d, 0).Seconds()) }

// ScheduleError counts a trouble.
func (t *Telemetry) ScheduleError() { t.scheduling.faults.Inc() }

// Rebuilt notes how long the reading of all records took.
func (t *Telemetry) Rebuilt(took time.Duration) { t.scheduling.read.Set(took.Seconds()) }
