package authserver

import (
	"net/http"
	"time"
)

// revoke is RFC 7009. Revoking any refresh token of a grant, a spent one
// included, ends the grant with all its access tokens; revoking an access token
// ends it and those issued before it. A token that is unknown counts as revoked.
func (s *Server) revoke(r *http.Request) *reply {
	c, f, bad := s.caller(r)
	if bad != nil {
		return bad
	}
	if f.token == "" {
		return badRequest("token is missing")
	}
	cl, fam := s.lookup(f.token)
	sub := subject{at: atRevoke, client: c.ID, refuse: refuse}
	if fam != nil {
		sub.account = fam.holder
	}
	return s.perform(r, sub, func() *reply {
		if fam != nil && fam.client != c {
			return refuse(http.StatusBadRequest, "unauthorized_client", "the token belongs to another client")
		}
		s.revokeToken(cl, fam)
		return &reply{status: http.StatusOK}
	})
}

func (s *Server) revokeToken(cl claims, fam *family) {
	switch {
	case fam == nil:
	case cl.kind == kindAccess:
		fam.killAccess(cl)
	case fam.finish(EndWithdrawn, time.Now()):
		s.counts.withdrawn.Add(1)
	}
}
