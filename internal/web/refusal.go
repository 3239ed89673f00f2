package web

import (
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/freshetdev/freshet/pkg/events"
)

// reason is why somebody is refused, in the words of the log: what it means, and what to do where there is something to do.
type reason string

// The reasons. Those about people come first.
const (
	reasonNoLink     reason = "the link cannot be read: cut off, made up, or made with other keysets"
	reasonLinkOver   reason = "the link has ended: make another"
	reasonLinkUsed   reason = "the link was used already: make another"
	reasonCrowded    reason = "too many sessions were begun with this link: somebody may be hammering it; make another"
	reasonNoPage     reason = "nothing is at this address"
	reasonAnswer     reason = "the answer has no state, or more than one"
	reasonBrowser    reason = "the browser that came back is not the one that was sent: somebody may have passed an address on, or it keeps no cookies"
	reasonState      reason = "no session waits for this state: it was used, has expired, or was never drawn"
	reasonProvider   reason = "the answer came to another provider's address than it was asked at: a mix-up, perhaps an attack"
	reasonMixUp      reason = "the answer names another issuer than the one that was asked, or none: a mix-up, perhaps an attack"
	reasonDeclined   reason = "the person, or the provider in their place, declined"
	reasonIdentity   reason = "somebody else agreed than the link is for: a mistake, or an attempt to swap accounts"
	reasonTaken      reason = "the link names no account, and the one that the provider names is there already, perhaps somebody else's: name the account when making links"
	reasonNoRefresh  reason = "nothing is stored, so that a refresh token that works is not lost: see to the provider's definition"
	reasonNameless   reason = "the link names no account, and the provider gives none that can be one: name the account when making links"
	reasonUserinfo   reason = "the provider does not say who agreed: see to userinfo_url, and to the scopes it needs"
	reasonChanged    reason = "the provider was applied anew, with another issuer or token URL, while somebody was there: they have to start again"
	reasonCode       reason = "the provider gave no tokens for the code: see to what the error names, and to the provider's client"
	reasonStaleCode  reason = "the provider does not take the code: somebody else's, used, or too old; perhaps an attack"
	reasonAsked      reason = "the provider refuses what it was asked: see to client_id, scopes and the redirect URIs registered there"
	reasonUnusable   reason = "the provider cannot be used: apply it, with an auth_url and grant authorization_code"
	reasonKeys       reason = "what was sealed does not open here: give all instances the same keysets"
	reasonNATS       reason = "NATS does not do what it must: see to it, and to the permissions of this user"
	reasonNotStored  reason = "it is not known whether the grant is stored: see freshet show, and to NATS"
	reasonAdminToken reason = "a browser showed a wrong admin token"
)

// level says who should wake up: nobody for what people do, somebody for what keeps everybody out.
func (r reason) level() zerolog.Level {
	switch r {
	case reasonUnusable, reasonKeys, reasonNATS, reasonNotStored, reasonAsked, reasonCode, reasonUserinfo, reasonNoRefresh:
		return zerolog.ErrorLevel
	case reasonNoLink, reasonLinkOver, reasonLinkUsed, reasonNoPage, reasonAnswer, reasonDeclined, reasonState:
		return zerolog.InfoLevel
	case reasonCrowded, reasonBrowser, reasonProvider, reasonMixUp, reasonIdentity, reasonTaken, reasonNameless, reasonChanged, reasonStaleCode, reasonAdminToken:
		return zerolog.WarnLevel
	}
	return zerolog.WarnLevel
}

// refusal is the error of a request that is turned away.
type refusal struct {
	reason reason
	err    error // what was seen, without token material; may be nil
}

func refuse(r reason, err error) error { return &refusal{r, err} }

// Error implements error.
func (r *refusal) Error() string {
	if r.err == nil {
		return string(r.reason)
	}
	return string(r.reason) + ": " + r.err.Error()
}

// Unwrap returns what was seen.
func (r *refusal) Unwrap() error { return r.err }

// quiet lets one line in ten seconds through for each reason, so that whoever knocks does not fill the log. mu guards the rest.
type quiet struct {
	mu     sync.Mutex
	last   map[reason]time.Time
	missed map[reason]int
}

const quietFor = 10 * time.Second

// allow reports whether to speak, and how often nothing was said since the last time.
func (q *quiet) allow(r reason, now time.Time) (missed int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		q.last, q.missed = make(map[reason]time.Time), make(map[reason]int)
	}
	if last, known := q.last[r]; known && now.Sub(last) < quietFor {
		q.missed[r]++
		return 0, false
	}
	missed, q.last[r], q.missed[r] = q.missed[r], now, 0
	return missed, true
}

// log says why a request was refused. The address of the request is not in it: it may hold a code.
func (s *Server) logRefusal(req *http.Request, r *refusal) {
	missed, ok := s.quiet.allow(r.reason, time.Now())
	level := r.reason.level()
	if !ok {
		level = zerolog.DebugLevel
	}
	ev := s.log.WithLevel(level)
	if level < s.log.GetLevel() || ev == nil {
		return
	}
	if missed > 0 {
		ev.Int("not_said_since", missed)
	}
	if name := req.PathValue("provider"); events.ValidProvider(name) {
		ev.Str("provider", name)
	}
	ev.Str("remote", req.RemoteAddr).AnErr("error", r.err).Msg("refused: " + string(r.reason))
}
