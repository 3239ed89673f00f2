package authserver

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// endpoint is one of the server's addresses.
type endpoint int

const (
	atAuthorize endpoint = iota
	atToken
	atIntrospect
	atRevoke
	atResource
	atMetadata
	atDevice
	endpoints // how many there are
)

// String returns the name used in faults and in the ledger.
func (e endpoint) String() string {
	return [endpoints]string{"authorize", "token", "introspect", "revoke", "resource", "metadata", "device"}[e]
}

// Server is the authorization server: an http.Handler with the endpoints
// /authorize, /token, /introspect, /revoke, /resource (a protected resource),
// /device_authorization with the page /device, and the two well-known metadata documents.
type Server struct {
	cfg     Config
	policy  policy
	clients map[string]*client
	mint    *mint
	store   store
	codes   codes
	devices devices
	seen    seenIDs // of assertions
	counts  counters
	script  atomic.Pointer[script]
	strays  [endpoints]atomic.Int64 // requests that name no account
}

var _ http.Handler = (*Server)(nil)

// New returns a Server. It panics if cfg is not valid: a caller whose
// configuration comes from a person calls Config.Validate first.
func New(cfg Config) *Server {
	if err := cfg.Validate(); err != nil {
		panic("authserver: " + err.Error())
	}
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, clients: map[string]*client{}, mint: newMint(cfg.Seed)}
	s.policy = policy{
		rules:    rules{class: cfg.Rotation, grace: cfg.Grace, same: cfg.GraceSame, lead: cfg.LastTryLead},
		kills:    cfg.RotationKillsAccess,
		idle:     cfg.IdleLifetime,
		age:      cfg.GrantLifetime,
		lifetime: s.cfg.lifetime,
	}
	s.store.families.init()
	s.store.accounts.init()
	s.codes.open = map[uint64]pendingCode{}
	s.counts.init()
	for _, c := range cfg.Clients {
		s.register(c)
	}
	return s
}

func (s *Server) register(c Client) {
	cl := &client{Client: c, methods: c.auth()}
	cl.machine = &family{
		id:      s.mint.familyID(c.ID, 0), // an account's grants count from 1
		client:  cl,
		holder:  &account{name: c.ID},
		created: time.Now(),
		forever: true,
		scopes:  slices.Clone(c.Scopes),
	}
	s.store.families.put(cl.machine.id, cl.machine)
	s.clients[c.ID] = cl
}

// ServeHTTP serves every endpoint.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/token":
		s.serveToken(w, r)
	case path == "/authorize":
		s.serve(w, r, atAuthorize, s.authorize)
	case path == "/introspect":
		s.serve(w, r, atIntrospect, s.introspect)
	case path == "/revoke":
		s.serve(w, r, atRevoke, s.revoke)
	case path == "/resource":
		s.serve(w, r, atResource, s.resource)
	case path == "/device_authorization":
		s.serve(w, r, atDevice, s.deviceAuthorization)
	case path == "/device":
		s.serve(w, r, atDevice, s.devicePage)
	case strings.HasPrefix(path, "/.well-known/"):
		s.serve(w, r, atMetadata, s.metadata)
	default:
		http.NotFound(w, r)
	}
}

// serve answers at any endpoint but /token.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, at endpoint, answer func(*http.Request) *reply) {
	s.counts.requests[at].Add(1)
	s.send(w, answer(r))
}

// issuer is the issuer identifier as seen by a request.
func (s *Server) issuer(r *http.Request) string {
	switch {
	case s.cfg.Issuer != "":
		return s.cfg.Issuer
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// subject is whom and what a request is about, as far as faults care.
type subject struct {
	at      endpoint
	grant   string // token requests: the grant type
	account *account
	client  string
	latency time.Duration
	// refuse says an OAuth error the way the endpoint does.
	refuse func(status int, code, text string) *reply
}

// ordinal counts the requests of this kind about the account.
func (s *Server) ordinal(sub subject) int64 {
	if sub.account == nil {
		return s.strays[sub.at].Add(1)
	}
	return sub.account.requests[sub.at].Add(1)
}

// perform carries a request out, with the faults and the latency it meets
// before and after it takes effect. A fault before it takes its place.
func (s *Server) perform(r *http.Request, sub subject, act func() *reply) *reply {
	p := s.script.Load().plan(request{sub, s.ordinal(sub), time.Now()})
	s.counts.planned(p)
	wait(r.Context(), p.waitBefore+sub.latency/2)
	if p.before != nil {
		return p.before.damage(sub, nil)
	}
	rep := act()
	wait(r.Context(), p.waitAfter+sub.latency-sub.latency/2)
	if p.after != nil {
		return p.after.damage(sub, rep)
	}
	return rep
}
