package dashboard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
)

//go:embed assets
var assetFiles embed.FS

// assetPath is below which the assets lie. They are the same for everybody.
const assetPath = "/assets/"

// policy lets a page load from here what it needs, and nothing from anywhere else (CSP level 3).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'"

// headers go with every answer.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "same-origin") // with none at all browsers leave the origin out of forms
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Robots-Tag", "noindex")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, req)
	})
}

// assets serves the style, the script and the icon. Pages name them with a version, so that browsers may keep them.
func assets() http.Handler {
	files := http.FileServerFS(assetFiles)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery != "" {
			w.Header().Set("Cache-Control", "max-age=31536000, immutable")
		}
		files.ServeHTTP(w, req)
	})
}

// part is a piece of a page that is rendered by itself, and again when somebody listens.
type part struct {
	ID, Heading, Template string
	Class                 string // of the section, for its place on the page
	Live                  bool
	Data                  any
}

// page is what a browser is shown.
type page struct {
	Title, Nav string // Nav is the path of the page in the navigation that it belongs to
	Parts      []part
}

// pages are the templates.
type pages struct {
	templates *template.Template
	version   string // of the assets
}

func parsePages() *pages {
	sum := sha256.New()
	err := fs.WalkDir(assetFiles, "assets", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := assetFiles.ReadFile(path)
		_, _ = sum.Write(data) // never fails
		return err
	})
	if err != nil {
		panic(err) // they are in the binary
	}
	return &pages{
		templates: template.Must(template.New("").ParseFS(templateFiles, "templates/*.html")),
		version:   hex.EncodeToString(sum.Sum(nil)[:6]),
	}
}

//go:embed templates
var templateFiles embed.FS

// part renders one part.
func (p *pages) part(x part) (template.HTML, error) {
	var out bytes.Buffer
	if err := p.templates.ExecuteTemplate(&out, x.Template, x.Data); err != nil {
		return "", fmt.Errorf("render %s: %w", x.ID, err)
	}
	return template.HTML(out.String()), nil //nolint:gosec // it was escaped by the template just now
}

// shown is a page as the layout takes it.
type shown struct {
	page
	Rendered                 []renderedPart
	Nav                      []navLink
	Version, Assets, SignOut string
	Address                  string // what to listen to
	Now                      moment
}

type renderedPart struct {
	part
	HTML template.HTML
}

type navLink struct {
	Path, Text string
	Here       bool
}

// view is how a page is made of the query of its address.
type view func(d *Dashboard, ctx context.Context, q url.Values) (page, error)

// views are the pages by their paths.
func views() map[string]view {
	return map[string]view{
		"/": (*Dashboard).overview, "/credentials": (*Dashboard).credentials, "/credential": (*Dashboard).credential,
		"/providers": (*Dashboard).providerPage, "/events": (*Dashboard).eventsPage,
	}
}

// view makes the page at an address.
func (d *Dashboard) view(ctx context.Context, at *url.URL) (page, error) {
	p, err := views()[at.Path](d, ctx, at.Query())
	if err == nil {
		p.Parts = append([]part{{ID: "troubles", Template: "troubles", Class: "all", Live: true, Data: d.troubles()}}, p.Parts...)
	}
	return p, err
}

// show answers with a page.
func (d *Dashboard) show(w http.ResponseWriter, req *http.Request) {
	p, err := d.view(req.Context(), req.URL)
	if err != nil {
		d.fail(w, req, err)
		return
	}
	d.write(w, req, http.StatusOK, p)
}

func (d *Dashboard) write(w http.ResponseWriter, req *http.Request, status int, p page) {
	s := shown{
		page: p, Version: app.Version(), Assets: d.pages.version, SignOut: d.cfg.SignOut, Now: absolute(d.cfg.Broker.Now()),
	}
	if views()[req.URL.Path] != nil && req.Method == http.MethodGet && status == http.StatusOK {
		s.Address = req.URL.RequestURI()
	}
	for _, n := range []navLink{{"/", "Overview", false}, {"/credentials", "Credentials", false}, {"/providers", "Providers", false}, {"/events", "Events", false}} {
		n.Here = n.Path == p.Nav
		s.Nav = append(s.Nav, n)
	}
	var out bytes.Buffer
	var err error
	for _, x := range p.Parts {
		r := renderedPart{part: x}
		if r.HTML, err = d.pages.part(x); err != nil {
			break
		}
		s.Rendered = append(s.Rendered, r)
	}
	if err == nil {
		err = d.pages.templates.ExecuteTemplate(&out, "layout", s)
	}
	if err != nil {
		d.cfg.Log.Error().Err(err).Msg("a page cannot be rendered")
		http.Error(w, "the page cannot be rendered: the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(out.Bytes())
}

// fail answers with what went wrong.
func (d *Dashboard) fail(w http.ResponseWriter, req *http.Request, err error) {
	status, title := http.StatusServiceUnavailable, "This cannot be shown now"
	switch {
	case errors.Is(err, errNoPage), errors.Is(err, refresh.ErrNotFound), errors.Is(err, broker.ErrUnknownProvider):
		status, title = http.StatusNotFound, "Not found"
	case errors.Is(err, events.ErrName):
		status, title = http.StatusBadRequest, "That is no name"
	}
	d.write(w, req, status, page{Title: title, Parts: []part{{ID: "fault", Template: "fault", Class: "all", Data: err.Error()}}})
}

// moment is an instant as people read it.
type moment struct {
	ISO  string // for machines, and on hovering; empty: never
	Text string
}

// absolute shows the time of day.
func absolute(t time.Time) moment {
	return moment{ISO: t.UTC().Format(time.RFC3339), Text: t.UTC().Format("15:04:05 UTC")}
}

// relative shows how far away it is.
func relative(t, now time.Time) moment {
	if t.IsZero() {
		return moment{Text: "never"}
	}
	m := moment{ISO: t.UTC().Format(time.RFC3339)}
	switch d := t.Sub(now).Round(time.Second); {
	case d > 0:
		m.Text = "in " + span(d)
	case d < 0:
		m.Text = span(-d) + " ago"
	default:
		m.Text = "now"
	}
	return m
}

// span writes a duration in one unit, or in two where that says much more.
func span(d time.Duration) string {
	switch {
	case d%time.Hour == 0 && d > 0 && d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0 && d > 0 && d < 100*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 100*time.Second:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 100*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
}

// grouped writes a number with commas.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
