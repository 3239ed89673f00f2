package telemetry

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Health is what a process must have to do its work. The zero value is not ready: nothing has been said yet.
type Health struct {
	mu       sync.Mutex
	checks   []*check
	draining bool
}

type check struct {
	name string
	ask  func() error
}

// Check adds something that must be in order. ask must not block; its error says what is not, without token material. remove
// takes it out again.
func (h *Health) Check(name string, ask func() error) (remove func()) {
	c := &check{name, ask}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, c)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.checks = slices.DeleteFunc(h.checks, func(other *check) bool { return other == c })
	}
}

// Starting adds a check that fails until begun is called, so that a process is not ready before it works.
func (h *Health) Starting() (begun, remove func()) {
	var yes atomic.Bool
	remove = h.Check("started", func() error {
		if !yes.Load() {
			return errors.New("not yet: NATS, its assets and its time are waited for")
		}
		return nil
	})
	return func() { yes.Store(true) }, remove
}

// drain makes the process one that is about to end.
func (h *Health) drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Finding is the answer to one check.
type Finding struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Report is what /readyz answers.
type Report struct {
	Ready    bool      `json:"ready"`
	Draining bool      `json:"draining,omitempty"`
	Checks   []Finding `json:"checks"`
}

// Report asks every check.
func (h *Health) Report() Report {
	h.mu.Lock()
	checks, draining := slices.Clone(h.checks), h.draining
	h.mu.Unlock()
	r := Report{Ready: len(checks) > 0 && !draining, Draining: draining, Checks: make([]Finding, 0, len(checks))}
	for _, c := range checks {
		f := Finding{Name: c.name, OK: true}
		if err := c.ask(); err != nil {
			f.OK, f.Error, r.Ready = false, err.Error(), false
		}
		r.Checks = append(r.Checks, f)
	}
	return r
}

// Handler serves /livez, /readyz and /metrics to whoever may. Who shows no token learns from the first two no more than the status,
// which is what an orchestrator's probe needs.
func (t *Telemetry) Handler(token seal.Secret) http.Handler {
	metrics := promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // whoever has gone is no concern
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		refused, _ := listen.Refuse(req, token)
		t.Health.serve(w, refused == 0)
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, req *http.Request) {
		if status, why := listen.Refuse(req, token); status != 0 {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="freshet"`)
			}
			http.Error(w, why, status)
			return
		}
		metrics.ServeHTTP(w, req)
	})
	return mux
}

// serve answers /readyz, with the checks only for those who may know.
func (h *Health) serve(w http.ResponseWriter, known bool) {
	r := h.Report()
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	if !known {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(r) // whoever has gone is no concern
}
