package authserver

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// serveToken is the token endpoint (RFC 6749 section 3.2). A request counts as
// in flight until just before its answer is written, so that a client that
// reacts to an answer never overlaps with the request that it answers.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	s.counts.requests[atToken].Add(1)
	s.counts.enter()
	rep := s.token(r)
	if rep.fresh && !rep.faulty {
		s.counts.refreshes.Add(1)
	}
	if rep.family != nil {
		s.undelivered(rep, r.Context().Err() != nil)
	}
	s.counts.leave()
	s.send(w, rep)
}

// undelivered counts a rotation whose answer does not reach the client.
func (s *Server) undelivered(rep *reply, gone bool) {
	switch {
	case rep.faulty:
		s.counts.damaged.Add(1)
	case gone:
		s.counts.abandoned.Add(1)
	default:
		return
	}
	rep.family.mu.Lock()
	rep.family.lost++
	rep.family.mu.Unlock()
}

func (s *Server) token(r *http.Request) *reply {
	c, f, bad := s.caller(r)
	if bad != nil {
		return bad
	}
	c.rate.add()
	switch f.grantType {
	case "refresh_token":
		return s.refreshGrant(r, c, f)
	case "authorization_code":
		return s.codeGrant(r, c, f)
	case "client_credentials":
		return s.machineGrant(r, c, f)
	case jwtBearerGrant:
		return s.bearerGrant(r, c, f)
	case deviceCodeGrant:
		return s.deviceGrant(r, c, f)
	case "":
		return badRequest("grant_type is missing")
	}
	return refuse(http.StatusBadRequest, "unsupported_grant_type", "this server knows authorization_code, device_code, refresh_token, client_credentials and jwt-bearer")
}

// about is the subject of a token request.
func (s *Server) about(c *client, f *form, a *account) subject {
	name := ""
	if a != nil {
		name = a.name
	}
	return subject{
		at: atToken, grant: strings.Clone(f.grantType), account: a, client: c.ID,
		latency: s.cfg.latency(name), refuse: refuse,
	}
}

// refreshGrant is RFC 6749 section 6.
func (s *Server) refreshGrant(r *http.Request, c *client, f *form) *reply {
	if f.refreshToken == "" {
		return badRequest("refresh_token is missing")
	}
	cl, ok := s.mint.openAs(kindRefresh, f.refreshToken)
	fam := s.store.families.get(cl.family)
	if !ok || fam == nil {
		s.counts.note(anomaly("unknown_token", nil, c, f.refreshToken))
		return s.perform(r, s.about(c, f, nil), func() *reply { return badGrant("the refresh token is not one of this server's") })
	}
	if fam.client != c {
		s.counts.note(anomaly("wrong_client", fam.holder, c, f.refreshToken))
		return s.perform(r, s.about(c, f, nil), func() *reply { return badGrant("the refresh token belongs to another client") })
	}
	s.enter(fam, cl, f.refreshToken)
	defer fam.leave(cl.seq)
	judged := false
	rep := s.perform(r, s.about(c, f, fam.holder), func() *reply {
		judged = true
		return s.refresh(fam, cl, f)
	})
	if !judged {
		s.countFaulted(fam, cl, f.refreshToken)
	}
	return rep
}

// countFaulted judges a presentation that a fault kept from taking effect: the
// client presented the token all the same.
func (s *Server) countFaulted(fam *family, cl claims, token string) {
	if out := fam.look(time.Now(), &s.policy, cl); out.verdict == reuse {
		s.countReuse(fam, token, out)
	}
}

// enter notes that a refresh token is being presented, and whether it already is
// by somebody else.
func (s *Server) enter(fam *family, cl claims, token string) {
	if fam.enter(cl.seq) {
		s.counts.concurrent.Add(1)
		s.counts.note(anomaly("concurrent", fam.holder, fam.client, token))
	}
}

// refresh presents a refresh token to its family and tells what came of it.
func (s *Server) refresh(fam *family, cl claims, f *form) *reply {
	now := time.Now()
	out := fam.exchange(now, &s.policy, cl, f.scope)
	switch {
	case out.verdict == reuse:
		s.countReuse(fam, f.refreshToken, out)
		return badGrant("the refresh token was used before")
	case out.ended != "":
		return badGrant("the grant has ended")
	case out.badScope:
		return refuse(http.StatusBadRequest, "invalid_scope", "the grant does not hold a scope that was asked for")
	}
	if out.again {
		s.counts.reused.Add(1)
	}
	rep := s.tokens(out.pair, now)
	rep.fresh = true
	if out.verdict == rotate {
		s.counts.rotations.Add(1)
		rep.family = fam
	}
	return rep
}

func (s *Server) countReuse(fam *family, token string, out outcome) {
	kind := "replayed"
	if out.lastTry {
		kind = "last_try"
		s.counts.lastTries.Add(1)
	} else {
		s.counts.replayed.Add(1)
	}
	s.counts.note(anomaly(kind, fam.holder, fam.client, token))
	if out.killed {
		s.counts.revoked.Add(1)
		s.counts.note(anomaly("family_revoked", fam.holder, fam.client, token))
	}
}

// codeGrant is RFC 6749 section 4.1.3 with RFC 7636 section 4.5.
func (s *Server) codeGrant(r *http.Request, c *client, f *form) *reply {
	if f.code == "" || f.redirectURI == "" || f.codeVerifier == "" {
		return badRequest("code, redirect_uri and code_verifier are required")
	}
	cl, ok := s.mint.openAs(kindCode, f.code)
	if !ok {
		return s.perform(r, s.about(c, f, nil), func() *reply { return badGrant("the code is not one of this server's") })
	}
	var a *account
	var nonce string
	if p, ok := s.codes.get(cl.family); ok {
		a, nonce = p.account, p.nonce
	} else if fam := s.store.families.get(cl.family); fam != nil {
		a = fam.holder
	}
	return s.perform(r, s.about(c, f, a), func() *reply { return s.identified(s.redeem(c, cl, f), r, c, a, nonce) })
}

// redeem trades a code for tokens. The code is gone whatever comes of it, unless
// it is another client's. The lock is held until the family is filed, so that of
// two who present the code at once the second is seen as such.
func (s *Server) redeem(c *client, cl claims, f *form) *reply {
	s.codes.mu.Lock()
	defer s.codes.mu.Unlock()
	now := time.Now()
	p, ok := s.codes.open[cl.family]
	if ok && p.client != c {
		return badGrant("the code belongs to another client")
	}
	delete(s.codes.open, cl.family)
	switch {
	case !ok:
		s.codeReused(c, cl.family, f.code, now)
		return badGrant("the code has expired or was used before")
	case !now.Before(p.expires):
		return badGrant("the code has expired")
	case p.redirect != f.redirectURI:
		return badGrant("redirect_uri is not the one of the authorization request")
	case !proves(f.codeVerifier, p.challenge):
		return badGrant("code_verifier does not fit the challenge")
	}
	s.counts.enrolments.Add(1)
	return s.tokens(s.found(cl.family, c, p.account, p.scopes, now), now)
}

// codeReused ends the grant that a code founded when the code is presented
// again (RFC 6749 section 4.1.2).
func (s *Server) codeReused(c *client, id uint64, code string, now time.Time) {
	fam := s.store.families.get(id)
	if fam == nil || fam.client != c {
		return
	}
	s.counts.note(anomaly("code_reused", fam.holder, c, code))
	if fam.finish(EndCodeReuse, now) {
		s.counts.revoked.Add(1)
	}
}

// found starts a family.
func (s *Server) found(id uint64, c *client, a *account, scopes []string, now time.Time) pair {
	fam := &family{id: id, client: c, holder: a, created: now, used: now, scopes: scopes}
	mask, _ := fam.mask("")
	p := fam.issue(now, &s.policy, 0, mask)
	s.store.add(fam, now)
	return p
}

// machineGrant is RFC 6749 section 4.4.
func (s *Server) machineGrant(r *http.Request, c *client, f *form) *reply {
	if f.clientSecret == "" && f.clientAssertion == "" && r.Header.Get("Authorization") == "" {
		return refuse(http.StatusBadRequest, "unauthorized_client", "client_credentials needs a client that proves itself")
	}
	scopes, err := c.grantable(f.scope)
	if err != nil {
		return refuse(http.StatusBadRequest, "invalid_scope", err.Error())
	}
	return s.perform(r, s.about(c, f, c.machine.holder), func() *reply {
		now := time.Now()
		p, ok := c.machine.machineToken(now, &s.policy, scopes)
		if !ok {
			return refuse(http.StatusBadRequest, "invalid_scope", "the client has used too many different scopes")
		}
		return s.tokens(p, now)
	})
}

// tokens is the answer of RFC 6749 section 5.1. It is put together by hand: none
// of the parts needs escaping, see splitScope.
func (s *Server) tokens(p pair, now time.Time) *reply {
	b := make([]byte, 0, 320)
	b = append(b, `{"access_token":"`...)
	b = append(b, s.mint.seal(p.access)...)
	b = append(b, `","token_type":"Bearer"`...)
	if !s.cfg.OmitExpiresIn {
		b = append(b, `,"expires_in":`...)
		b = strconv.AppendInt(b, (p.access.end-now.UnixNano())/int64(time.Second), 10)
	}
	if p.refresh.kind != 0 {
		b = append(b, `,"refresh_token":"`...)
		b = append(b, s.mint.seal(p.refresh)...)
		b = append(b, '"')
	}
	if s.cfg.RefreshExpiresIn && !p.grantEnd.IsZero() {
		b = append(b, `,"refresh_token_expires_in":`...)
		b = strconv.AppendInt(b, int64(p.grantEnd.Sub(now)/time.Second), 10)
	}
	if p.scope != "" {
		b = append(b, `,"scope":"`...)
		b = append(b, p.scope...)
		b = append(b, '"')
	}
	return &reply{status: http.StatusOK, body: append(b, '}')}
}
