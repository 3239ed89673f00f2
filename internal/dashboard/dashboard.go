package dashboard

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// Config describes a Dashboard. Broker is required.
type Config struct {
	Broker *broker.Broker
	// Link makes a link on which a credential's owner agrees again. nil: the pages offer none.
	Link func(ctx context.Context, c events.Credential) (string, error)
	// Operator is who pauses and resumes lanes here, such as "operator:dashboard". "": the pages offer neither.
	Operator string
	// SignOut is the path to which a form that ends the session posts. "": there are no sessions.
	SignOut string
	// Audit writes down who pauses and resumes. nil: nobody does.
	Audit *audit.Log
	Log   zerolog.Logger
}

// Dashboard follows what happens and shows it.
type Dashboard struct {
	cfg    Config
	pages  *pages
	hub    hub
	past   history
	queues lanes
	kept   kept
	over   chan struct{} // closed when Run ends
	pace   time.Duration // of what browsers get; tests cannot wait for the usual one

	mu        sync.RWMutex // guards all below
	index     *Index
	ready     bool // all records have been read once
	providers map[string]lane
	faults    map[string]error // what cannot be followed now, and why
	summary   Survey
	surveyed  time.Time // when summary was made
	surveyFor time.Duration
}

// lane is what is known of a provider. Nothing sealed is kept.
type lane struct {
	definition provider.Definition
	pause      *provider.Pause
	err        error // the entry cannot be read
}

// New returns a Dashboard that shows nothing until Run runs.
func New(cfg Config) *Dashboard {
	return &Dashboard{
		cfg: cfg, pages: parsePages(), over: make(chan struct{}), index: NewIndex(), providers: make(map[string]lane),
		faults: make(map[string]error), past: newHistory(), pace: pace,
	}
}

// Run keeps the pages up to date until ctx ends; it then lets the listening browsers go and returns nil. What goes wrong
// meanwhile is on the pages and in the log, and tried again. It is called once.
func (d *Dashboard) Run(ctx context.Context) error {
	defer close(d.over)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.retry(ctx, "records", d.followRecords) })
	g.Go(func() error { return d.retry(ctx, "providers", d.followProviders) })
	g.Go(func() error { return d.retry(ctx, "events", d.followEvents) })
	return g.Wait()
}

// Handler serves the pages. Who may see them is the caller's care.
func (d *Dashboard) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.show)
	for path := range views() {
		if path != "/" {
			mux.HandleFunc("GET "+path, d.show)
		}
	}
	mux.HandleFunc("GET /live", d.live)
	mux.Handle("GET "+assetPath, assets())
	mux.HandleFunc("POST /links", d.connect)
	mux.HandleFunc("POST /lane", d.changeLane)
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { d.fail(w, req, errNoPage) })
	return headers(http.NewCrossOriginProtection().Handler(mux))
}

// errNoPage: there is nothing at this address.
var errNoPage = errors.New("there is no such page")

// survey returns what can be said about all credentials. It is made anew when it has become old: after a pace, or later
// where making it takes long.
func (d *Dashboard) survey(now time.Time) Survey {
	d.mu.Lock()
	defer d.mu.Unlock()
	const share = 50 // at most a fiftieth of the time goes into it
	if began := time.Now(); d.surveyed.IsZero() || began.Sub(d.surveyed) > max(d.pace, share*d.surveyFor) {
		d.summary, d.surveyed = d.index.Survey(now), began
		d.surveyFor = time.Since(began)
	}
	return d.summary
}
