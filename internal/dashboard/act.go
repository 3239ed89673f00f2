package dashboard

import (
	"net/http"
	"net/url"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
)

// mostForm bounds what a form may send.
const mostForm = 4 << 10

// source is who tells the events of what is done here.
const source = "freshet/dashboard"

// formValue reads a field of a form, and of nothing else: an address that somebody sends around does nothing.
func formValue(w http.ResponseWriter, req *http.Request, name string) string {
	req.Body = http.MaxBytesReader(w, req.Body, mostForm)
	return req.PostFormValue(name)
}

// linkView is a link that was made.
type linkView struct{ Name, Href, URL string }

// connect makes a connect link: POST /links, name=PROVIDER/ACCOUNT.
func (d *Dashboard) connect(w http.ResponseWriter, req *http.Request) {
	c, err := events.ParseCredential(formValue(w, req, "name"))
	if err == nil && d.cfg.Link == nil {
		err = errNoPage
	}
	var address string
	if err == nil {
		address, err = d.cfg.Link(req.Context(), c)
	}
	if err != nil {
		d.fail(w, req, err)
		return
	}
	d.write(w, req, http.StatusCreated, page{Title: "Connect " + c.String(), Nav: "/credentials", Parts: []part{
		{ID: "link", Heading: "A link, good for an hour", Template: "link", Class: "all", Data: linkView{c.String(), credentialHref(c.String()), address}},
	}})
}

// changeLane pauses or resumes a lane: POST /lane, provider=NAME, do=pause|resume.
func (d *Dashboard) changeLane(w http.ResponseWriter, req *http.Request) {
	name := formValue(w, req, "provider")
	err := errNoPage
	switch what := formValue(w, req, "do"); {
	case d.cfg.Operator == "":
	case what == "pause":
		d.note(req, audit.Paused, name)
		err = app.PauseLane(req.Context(), d.cfg.Broker, name, provider.Pause{By: d.cfg.Operator}, source)
	case what == "resume":
		d.note(req, audit.Resumed, name)
		err = app.ResumeLane(req.Context(), d.cfg.Broker, name, d.cfg.Operator, source)
	}
	if err != nil {
		d.fail(w, req, err)
		return
	}
	d.cfg.Log.Info().Str("provider", name).Str("do", formValue(w, req, "do")).Msg("lane changed from the dashboard")
	http.Redirect(w, req, "/providers#lane-"+url.PathEscape(name), http.StatusSeeOther)
}

// note writes an audit entry about a provider.
func (d *Dashboard) note(req *http.Request, a audit.Action, name string) {
	e := audit.About(a, events.Credential{Provider: name})
	e.Data.Via = "admin"
	d.cfg.Audit.Note(req.Context(), e)
}
