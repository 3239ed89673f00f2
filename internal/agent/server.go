package agent

import (
	"context"
	_ "embed" // the description of the interface
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/internal/audit"
	"github.com/freshetdev/freshet/internal/socket"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/tokens"
)

//go:embed openapi.yaml
var openAPI []byte

const (
	// askWithin bounds one request: a refresh at a provider of ordinary speed, with a second try.
	askWithin = 30 * time.Second
	// headerWithin bounds the arrival of a request, and idleFor how long a connection is kept without one.
	headerWithin = 5 * time.Second
	idleFor      = 2 * time.Minute
	// maxHeader and maxForm bound a request, in bytes. A refused token is in the form.
	maxHeader = 16 << 10
	maxForm   = 64 << 10
	// endWithin bounds the wait for requests at the end.
	endWithin = 2 * time.Second
)

// server answers requests for tokens.
type server struct {
	source Source
	gate   gate
	log    zerolog.Logger
	reads  *audit.Reads // nil: nobody counts
}

// handler returns the HTTP interface over a source, open to the callers. Errors: what is wrong with their secrets.
func (c Config) handler(source Source, log zerolog.Logger) (*server, error) {
	g, err := c.gate()
	if err != nil {
		return nil, err
	}
	return &server{source: source, gate: g, log: log}, nil
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /openapi.yaml", serveOpenAPI)
	mux.HandleFunc("GET "+tokensPath+"{provider}/{account...}", s.serveToken)
	mux.HandleFunc("POST "+tokensPath+"{provider}/{account...}", s.serveRefused)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, refusal{wordNotFound, "there is nothing here: see /openapi.yaml"})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, refused := guard(r); status != 0 {
			s.log.Warn().Str("from", r.RemoteAddr).Str("why", refused.Description).Msg("a request is refused")
			writeJSON(w, status, refused)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// guard refuses what a program on this machine, meaning to ask for a token, would not send; 0: it does not.
func guard(r *http.Request) (int, refusal) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	switch {
	case !loopback(host):
		return http.StatusForbidden, refusal{wordDenied, "the Host of the request is not this machine: call the agent localhost"}
	case len(r.Header.Values("X-Forwarded-For"))+len(r.Header.Values("Forwarded")) > 0:
		return http.StatusForbidden, refusal{wordDenied, "the request came through a proxy"}
	case r.Header.Get(requiredHeader) != requiredValue:
		return http.StatusForbidden, refusal{wordDenied, "the header " + requiredHeader + ": " + requiredValue + " is missing"}
	}
	return 0, refusal{}
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	w.Write(openAPI)
}

// wanted reads whose token is asked for, and who asks; ok is false when the request has been answered.
func (s *server) wanted(w http.ResponseWriter, r *http.Request) (id string, by audit.Caller, ok bool) {
	who, err := s.gate.who(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750 section 3
		s.answer(w, r, http.StatusUnauthorized, refusal{wordClient, err.Error()})
		return "", by, false
	}
	cred := events.Credential{Provider: r.PathValue("provider"), Account: r.PathValue("account")}
	if err := cred.Validate(); err != nil {
		s.answer(w, r, http.StatusBadRequest, refusal{wordInvalid, err.Error()})
		return "", by, false
	}
	if !who.may(cred.String()) {
		s.answer(w, r, http.StatusForbidden, refusal{wordDenied, who.name + " may not have " + cred.String()})
		return "", by, false
	}
	return cred.String(), who.caller, true
}

func (s *server) serveToken(w http.ResponseWriter, r *http.Request) {
	id, by, ok := s.wanted(w, r)
	if !ok {
		return
	}
	least := time.Duration(0)
	if text := r.URL.Query().Get(minTTLParam); text != "" {
		var err error
		if least, err = time.ParseDuration(text); err != nil || least < 0 {
			s.answer(w, r, http.StatusBadRequest, refusal{wordInvalid, minTTLParam + ": want a duration, such as 60s"})
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), askWithin)
	defer cancel()
	t, err := s.source.Token(ctx, id, least)
	s.give(w, r, by, given{t, err})
}

// serveRefused asks for a newer token once a server has refused the one there is.
func (s *server) serveRefused(w http.ResponseWriter, r *http.Request) {
	id, by, ok := s.wanted(w, r)
	if !ok {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	access := ""
	if r.ParseForm() == nil { // and no multipart form
		access = r.PostForm.Get(refusedParam)
	}
	if access == "" {
		s.answer(w, r, http.StatusBadRequest, refusal{wordInvalid, refusedParam + " is missing: want a form with the token that was refused"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askWithin)
	defer cancel()
	t, err := s.source.Refused(ctx, id, access)
	s.give(w, r, by, given{t, err})
}

// given is what a source says.
type given struct {
	token tokens.Token
	err   error
}

func (s *server) give(w http.ResponseWriter, r *http.Request, by audit.Caller, g given) {
	if g.err != nil {
		status, refused := answerTo(g.err)
		s.answer(w, r, status, refused)
		return
	}
	t := g.token
	s.reads.Add(audit.Given{Credential: t.Credential, Token: t.AccessToken, Via: "http", Caller: by})
	s.log.Debug().Str("path", r.URL.Path).Str("from", r.RemoteAddr).Uint64("version", t.Version).Msg("a token is handed out")
	writeJSON(w, http.StatusOK, grantOf(t, time.Now()))
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, status int, refused refusal) {
	s.log.Info().Str("path", r.URL.Path).Int("status", status).Str("error", refused.Error).Str("why", refused.Description).Msg("no token is handed out")
	writeJSON(w, status, refused)
}

// listener is a place to listen on.
type listener struct {
	net.Listener
	lock *flock.Flock // of a Unix socket
}

// open listens on an address.
func open(ctx context.Context, address string, mode uint32) (listener, error) {
	network, at, err := parseAddress(address)
	if err != nil {
		return listener{}, err
	}
	if network == "unix" {
		ln, lock, err := socket.Listen(ctx, at, fs.FileMode(mode))
		return listener{ln, lock}, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, network, at)
	if err != nil {
		return listener{}, fmt.Errorf("listen on %s: %w", address, err)
	}
	if host, _, err := net.SplitHostPort(ln.Addr().String()); err != nil || !loopback(host) { // localhost may be mapped elsewhere
		return listener{}, errors.Join(fmt.Errorf("listen on %s: that is %s, which is not loopback", address, ln.Addr()), ln.Close())
	}
	return listener{Listener: ln}, nil
}

// close lets go of the place; a Unix socket's file goes with it.
func (l listener) close() error {
	err := l.Close()
	if l.lock != nil {
		err = errors.Join(err, l.lock.Close())
	}
	return err
}

// where is the address as it may be given to a client.
func (l listener) where() string {
	if l.lock != nil {
		return "unix://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

// serve answers until ctx ends.
func (s *server) serve(ctx context.Context, l listener) error {
	hs := &http.Server{
		Handler: s.routes(), ReadHeaderTimeout: headerWithin, IdleTimeout: idleFor, MaxHeaderBytes: maxHeader,
		ConnContext: connContext,
	}
	over := make(chan error, 1)
	go func() { over <- hs.Serve(l) }()
	select {
	case err := <-over:
		return errors.Join(fmt.Errorf("serve on %s: %w", l.where(), err), l.close())
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if hs.Shutdown(end) != nil {
		_ = hs.Close() // whoever still waits has waited for long
	}
	<-over
	if l.lock == nil {
		return nil
	}
	return l.lock.Close()
}

// bearer returns what a request presents as a secret; empty: nothing.
func bearer(r *http.Request) string {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}
