package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/listen"
	"github.com/freshetdev/freshet/pkg/events"
)

// linkRequest is the body of POST /v1/connect-links.
type linkRequest struct {
	Provider string `json:"provider"`
	// Account is what the credential is stored under; without it, it is named after whoever agrees.
	Account string `json:"account"`
	// Identity is who has to agree: sub:, email: or name: and the provider's subject, email address or username, or one of them
	// without saying which. Without it, whoever the account
	// names; "*" for anybody.
	Identity string `json:"identity"`
	// ExpiresIn is how long the link is good, in seconds; default an hour.
	ExpiresIn int64 `json:"expires_in"`
	// ReturnURL is where the browser goes when it worked; without it, a page says so.
	ReturnURL string `json:"return_url"`
}

// linkReply is the answer.
type linkReply struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// maxLinkRequest bounds a body.
const maxLinkRequest = 64 << 10

// AdminHandler serves programs that ask for links, and the dashboard, to whoever may.
func (s *Server) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/connect-links", s.guard(http.HandlerFunc(s.makeLink), s.refuseProgram))
	shown := http.NotFoundHandler()
	if s.dashboard != nil {
		shown = s.dashboard.Handler()
	}
	mux.Handle("/", s.guard(shown, s.refuseBrowser))
	if !s.token.IsZero() && s.dashboard != nil {
		mux.Handle("GET /assets/", shown)
		mux.HandleFunc("GET "+signInPath, s.showSignIn)
		mux.HandleFunc("POST "+signInPath, s.signIn)
		mux.HandleFunc("POST "+SignOutPath, s.signOut)
	}
	checked := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.headers(w.Header())
		checked.ServeHTTP(w, req)
	})
}

// guard lets those through who may use the admin listener: see listen.Refuse. Client certificates were checked before. Whoever has to
// show the token is left to refuse.
func (s *Server) guard(next http.Handler, refuse http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch status, why := listen.Refuse(req, s.token); status {
		case 0:
			next.ServeHTTP(w, req)
		case http.StatusUnauthorized:
			if session := s.inSession(req); session != nil {
				within(session, next).ServeHTTP(w, req)
				return
			}
			refuse(w, req)
		default:
			adminError(w, status, why)
		}
	})
}

// inSession returns the session of a browser that has shown the token; nil: it has none. Only for the dashboard that is as good as the
// token itself.
func (s *Server) inSession(req *http.Request) context.Context {
	if req.Header.Get("Authorization") != "" || req.URL.Path == "/v1/connect-links" {
		return nil
	}
	return s.signedIn(req, time.Now())
}

func (s *Server) refuseProgram(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="freshet"`)
	adminError(w, http.StatusUnauthorized, "show the admin token: Authorization: Bearer ...")
}

func adminError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever has gone is no concern
}

// makeLink answers POST /v1/connect-links.
func (s *Server) makeLink(w http.ResponseWriter, req *http.Request) {
	r, err := readLinkRequest(w, req)
	if err == nil {
		err = r.validate()
	}
	if err != nil {
		adminError(w, http.StatusBadRequest, err.Error())
		return
	}
	reply, err := s.makeURL(req.Context(), r.link(time.Now()))
	var refused *refusal
	switch {
	case errors.As(err, &refused) && refused.reason == reasonUnusable:
		adminError(w, http.StatusNotFound, "provider "+r.Provider+": "+string(refused.reason))
	case err != nil:
		s.log.Error().Err(err).Msg("no link can be made: see to what the error names")
		adminError(w, http.StatusServiceUnavailable, "no link can be made now: the log says why")
	default:
		writeJSON(w, http.StatusCreated, reply)
	}
}

func readLinkRequest(w http.ResponseWriter, req *http.Request) (linkRequest, error) {
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return linkRequest{}, errors.New("want Content-Type: application/json")
	}
	var r linkRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxLinkRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return linkRequest{}, fmt.Errorf("the body cannot be read: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return linkRequest{}, errors.New("the body has more than one JSON object")
	}
	return r, nil
}

// validate reports everything that is wrong.
func (r linkRequest) validate() error {
	var faults []error
	if !events.ValidProvider(r.Provider) {
		faults = append(faults, errors.New("provider: want the name of one that was applied"))
	} else if r.Account != "" {
		if err := (events.Credential{Provider: r.Provider, Account: r.Account}).Validate(); err != nil {
			faults = append(faults, fmt.Errorf("account: %w", err))
		}
	}
	if most := int64(maxLinkLife / time.Second); r.ExpiresIn < 0 || r.ExpiresIn > most {
		faults = append(faults, fmt.Errorf("expires_in: want 1 to %d seconds", most))
	}
	if len(r.Identity) > maxIdentity {
		faults = append(faults, fmt.Errorf("identity: want at most %d bytes", maxIdentity))
	}
	return errors.Join(append(faults, checkReturnURL(r.ReturnURL))...)
}

const maxIdentity = 320 // bytes; the longest email address

// link is what was asked for.
func (r linkRequest) link(now time.Time) link {
	life := time.Duration(r.ExpiresIn) * time.Second
	if life == 0 {
		life = defaultLinkLife
	}
	l := newLink(r.Provider, now.Add(life).UTC().Truncate(time.Second))
	l.Account, l.Identity, l.ReturnURL = r.Account, r.Identity, r.ReturnURL
	return l
}

// Link makes a link for a credential, good for an hour, as POST /v1/connect-links does.
func (s *Server) Link(ctx context.Context, c events.Credential) (string, error) {
	reply, err := s.makeURL(ctx, linkRequest{Provider: c.Provider, Account: c.Account}.link(time.Now()))
	return reply.URL, err
}

// makeURL seals a link and says where to open it.
func (s *Server) makeURL(ctx context.Context, l link) (linkReply, error) {
	if _, err := s.provider(ctx, l.Provider); err != nil {
		return linkReply{}, err
	}
	e := audit.About(audit.LinkMade, events.Credential{Provider: l.Provider, Account: l.Account})
	e.Data.Via, e.Data.Link = "admin", l.ID
	s.audit.Note(ctx, e)
	text, err := l.sealed(s.keys.Grant, s.bucket)
	if err != nil {
		return linkReply{}, err
	}
	s.log.Info().Str("link", l.ID).Str("provider", l.Provider).Str("account", l.Account).Time("ends", l.Ends).Msg("link made")
	address := s.publicURL + "/connect/" + l.Provider + "?" + url.Values{"link": {text}}.Encode()
	return linkReply{URL: address, ExpiresAt: l.Ends}, nil
}
