package authserver

import (
	"net/http"
	"strings"
	"time"
)

// granted is what the protected resource tells the bearer of a good token.
type granted struct {
	Account  string `json:"account"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope,omitempty"`
	// Version counts the grant's access tokens, from 1.
	Version uint32 `json:"version"`
	Expires int64  `json:"exp"`
}

// resource is a protected resource: it takes a bearer token from the
// Authorization header (RFC 6750 section 2.1), and nowhere else.
func (s *Server) resource(r *http.Request) *reply {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		rep := challenge(http.StatusUnauthorized, "", "a bearer token is required")
		rep.header = []string{"WWW-Authenticate", `Bearer realm="authserver"`} // no error code: RFC 6750 section 3.1
		return rep
	}
	cl, fam := s.lookup(token)
	if cl.kind != kindAccess {
		fam = nil
	}
	sub := subject{at: atResource, refuse: challenge}
	if fam != nil {
		sub.account, sub.client = fam.holder, fam.client.ID
	}
	rep := s.perform(r, sub, func() *reply { return s.use(cl, fam) })
	if rep.status == http.StatusUnauthorized && fam != nil {
		fam.refuse(cl.seq)
	}
	return rep
}

func (s *Server) use(cl claims, fam *family) *reply {
	bad := func() *reply {
		return challenge(http.StatusUnauthorized, "invalid_token", "the access token is not good, or not any more")
	}
	if fam == nil {
		return bad()
	}
	scope, ok := fam.accept(time.Now(), &s.policy, cl)
	if !ok {
		return bad()
	}
	return answer(granted{
		Account: fam.holder.name, ClientID: fam.client.ID, Scope: scope,
		Version: cl.version, Expires: cl.end / int64(time.Second),
	})
}

// challenge is an error of a protected resource (RFC 6750 section 3).
func challenge(status int, code, text string) *reply {
	rep := refuse(status, code, text)
	rep.header = []string{"WWW-Authenticate", `Bearer realm="authserver", error="` + code + `", error_description="` + text + `"`}
	return rep
}
