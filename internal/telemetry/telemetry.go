package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Telemetry is what a process shows of itself. Use New or Run.
type Telemetry struct {
	Health Health
	// Tracer makes spans; nil, which is of use as well, makes none.
	Tracer *Tracer

	served     bool
	registry   *prometheus.Registry
	sources    sources
	worker     worker
	scheduling scheduling
}

// New returns a Telemetry that nobody listens to: it counts, and makes no spans.
func New(version string) *Telemetry {
	t := &Telemetry{registry: prometheus.NewRegistry(), worker: newWorker(), scheduling: newScheduling()}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "freshet_build_info", Help: "1, with the version of Freshet and of Go as labels.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	t.registry.MustRegister(build, &t.sources, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t.registry.MustRegister(t.worker.collectors()...)
	t.registry.MustRegister(t.scheduling.collectors()...)
	return t
}

// Served reports whether somebody may scrape, so that what only a scrape needs is asked for.
func (t *Telemetry) Served() bool { return t.served }

// Gatherer returns the metrics, for those who read them in the process itself.
func (t *Telemetry) Gatherer() prometheus.Gatherer { return t.registry }

// Names of labels.
const (
	labelProvider = "provider"
	labelOutcome  = "outcome"
	labelState    = "state"
	labelReason   = "reason"
	labelType     = "type"
	labelFile     = "file"
)

// maxProviders bounds the series of one process; providers beyond it share the name otherProviders.
const (
	maxProviders   = 1000
	otherProviders = "_other"
)
