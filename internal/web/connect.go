package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"time"

	"github.com/freshetdev/freshet/internal/app"
	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/broker"
	"github.com/freshetdev/freshet/internal/enroll"
	"github.com/freshetdev/freshet/internal/page"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// storeWithin bounds what happens after a browser came back: from then on a code may be spent, so that its leaving ends nothing.
const storeWithin = time.Minute

// PublicHandler serves people: the links, and the way back.
func (s *Server) PublicHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/connect/{provider}", s.page(s.start))
	mux.HandleFunc("/connect/{provider}/callback", s.page(s.callback))
	nothing := s.page(func(http.ResponseWriter, *http.Request) error { return refuse(reasonNoPage, nil) })
	mux.HandleFunc("/", nothing)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != path.Clean(req.URL.Path) { // the mux would send the browser elsewhere
			nothing(w, req)
			return
		}
		mux.ServeHTTP(w, req)
	})
}

// page serves one address. Whoever is refused sees the same page whatever the reason. Only GET does something: a HEAD is a
// link checker's, and must use nothing up.
func (s *Server) page(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		s.headers(w.Header())
		err := refuse(reasonNoPage, nil)
		if req.Method == http.MethodGet {
			err = serve(w, req)
		}
		if err == nil {
			return
		}
		var r *refusal
		if !errors.As(err, &r) {
			r = &refusal{reasonNATS, err}
		}
		s.logRefusal(req, r)
		page.Write(w, http.StatusBadRequest, pageRefused())
	}
}

// start sends the browser to the provider.
func (s *Server) start(w http.ResponseWriter, req *http.Request) error {
	ctx := req.Context()
	l, err := s.readLink(ctx, req)
	if err != nil {
		return err
	}
	d, err := s.provider(ctx, l.Provider)
	if err != nil {
		return err
	}
	browser, verifier := enroll.NewState(), enroll.NewVerifier()
	state, err := s.begin(ctx, l, d, verifier, browser)
	if err != nil {
		return err
	}
	address, err := s.consent(d, verifier).URL(state, l.hint())
	if err != nil {
		return refuse(reasonUnusable, err)
	}
	http.SetCookie(w, s.cookie(state, browser, sessionLife))
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// readLink opens the link of a request that may be used.
func (s *Server) readLink(ctx context.Context, req *http.Request) (link, error) {
	name := req.PathValue("provider")
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil || len(query["link"]) != 1 || !events.ValidProvider(name) {
		return link{}, refuse(reasonNoLink, nil)
	}
	l, err := openLink(s.keys.Grant, s.bucket, name, query.Get("link"))
	if err != nil {
		return link{}, refuse(reasonNoLink, err)
	}
	if time.Now().After(l.Ends) {
		return link{}, refuse(reasonLinkOver, nil)
	}
	used, err := s.broker.HasEnrollment(ctx, l.usedKey())
	switch {
	case err != nil:
		return link{}, refuse(reasonNATS, err)
	case used:
		return link{}, refuse(reasonLinkUsed, nil)
	}
	return l, nil
}

// provider opens a definition that people can agree at.
func (s *Server) provider(ctx context.Context, name string) (*provider.Definition, error) {
	d, err := app.OpenProvider(ctx, s.broker, s.keys.Grant, name)
	switch {
	case errors.Is(err, seal.ErrUnknownKey), errors.Is(err, seal.ErrCorrupt):
		return nil, refuse(reasonKeys, err)
	case errors.Is(err, broker.ErrUnknownProvider), errors.Is(err, provider.ErrMalformed):
		return nil, refuse(reasonUnusable, err)
	case err != nil:
		return nil, refuse(reasonNATS, err)
	case d.Grant != provider.GrantAuthorizationCode || d.AuthURL == "":
		return nil, refuse(reasonUnusable, nil)
	}
	return d, nil
}

// callback takes the browser back, and stores what the provider gives for its code.
func (s *Server) callback(w http.ResponseWriter, req *http.Request) error {
	answer, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil || len(answer["state"]) != 1 {
		return refuse(reasonAnswer, nil)
	}
	state := answer.Get("state")
	v, err := s.resume(req, state)
	if err != nil {
		return err
	}
	http.SetCookie(w, s.cookie(state, "", -time.Second))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), storeWithin)
	defer cancel()
	c, err := s.connect(ctx, v, answer)
	if err != nil {
		return err
	}
	if v.Link.ReturnURL != "" {
		w.Header().Set("Location", v.Link.ReturnURL)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	page.Write(w, http.StatusOK, page.Page{Heading: "Connected", Text: c.String() + " is connected.", Note: closeWindow, Good: true})
	return nil
}

// connect trades the code and stores the grant. What it refuses after the trade it does not withdraw at the provider: many
// withdraw everything that the person ever agreed to, and there may be an account that lives by it.
func (s *Server) connect(ctx context.Context, v session, answer url.Values) (events.Credential, error) {
	d, err := s.provider(ctx, v.Provider)
	if err != nil {
		return events.Credential{}, err
	}
	if d.Issuer != v.Issuer || d.TokenURL != v.TokenURL {
		return events.Credential{}, refuse(reasonChanged, nil)
	}
	g, err := s.consent(d, seal.NewSecret(v.Verifier)).Redeem(ctx, answer)
	if err != nil {
		return events.Credential{}, refuse(reasonOf(err), err)
	}
	if v.Link.asksWho() {
		if g.Identity, err = enroll.Identify(ctx, s.asker, d, g); err != nil {
			return events.Credential{}, refuse(reasonUserinfo, err)
		}
	}
	if g.Account = v.Link.Account; g.Account == "" {
		if g, err = g.Derived(d.Name, accountOf(g.Identity)); err != nil {
			return events.Credential{}, refuse(reasonNameless, err)
		}
	}
	if !v.Link.takes(g.Identity) {
		return events.Credential{}, refuse(reasonIdentity, nil)
	}
	c := events.Credential{Provider: d.Name, Account: g.Account}
	if err := s.use(ctx, v.Link); err != nil {
		return events.Credential{}, err
	}
	s.audit.Note(ctx, s.enrolment(c, v.Link, g))
	stored, err := s.writer.Enroll(ctx, d, c, g)
	if errors.Is(err, enroll.ErrTaken) || errors.Is(err, enroll.ErrNoRefreshToken) { // refused before anything was written
		s.spare(ctx, v.Link)
	}
	if errors.Is(err, enroll.ErrTaken) {
		return events.Credential{}, refuse(reasonTaken, nil)
	}
	if errors.Is(err, enroll.ErrNoRefreshToken) {
		return events.Credential{}, refuse(reasonNoRefresh, err)
	}
	if err != nil && !errors.Is(err, enroll.ErrUntold) {
		return events.Credential{}, refuse(reasonNotStored, err)
	}
	s.logConnected(c, v.Link, stored, err)
	return c, nil
}

// enrolment is the audit entry of a grant that came by a link.
func (s *Server) enrolment(c events.Credential, l link, g enroll.NewGrant) audit.Entry {
	e := audit.About(audit.Enrolled, c)
	e.Data.Via, e.Data.Link, e.Data.RefreshTokenRef = "link", l.ID, s.keys.Grant.Reference(g.RefreshToken)
	return e
}

// accountOf names the account of a link that names none: by the subject, which nobody chooses and which never changes hands. Only
// where there is none is it another name.
func accountOf(who enroll.Identity) string { return cmp.Or(who.Subject, who.Account()) }

func (s *Server) logConnected(c events.Credential, l link, stored refresh.Stored, untold error) {
	s.log.Info().Stringer("credential", c).Uint64("generation", stored.Record.Generation).Str("link", l.ID).
		AnErr("error", untold).Msg("connected")
}

// reasonOf says why there are no tokens.
func reasonOf(err error) reason {
	var refused *enroll.AuthorizationError
	var exchange *enroll.ExchangeError
	switch {
	case errors.Is(err, enroll.ErrDeclined):
		return reasonDeclined
	case errors.Is(err, enroll.ErrMixUp), errors.Is(err, enroll.ErrForeignIDToken):
		return reasonMixUp
	case errors.As(err, &refused):
		return reasonAsked
	case errors.As(err, &exchange) && exchange.Class == refresh.ClassRejected:
		return reasonStaleCode
	}
	return reasonCode
}
