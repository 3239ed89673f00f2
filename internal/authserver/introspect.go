package authserver

import (
	"net/http"
	"strings"
	"time"
)

// introspection is RFC 7662 section 2.2. A token that is not active has no
// other field.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Username  string `json:"username,omitempty"`
	Subject   string `json:"sub,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	Issued    int64  `json:"iat,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	Issuer    string `json:"iss,omitempty"`
}

// introspect is RFC 7662. Looking at a token is not using it.
func (s *Server) introspect(r *http.Request) *reply {
	c, f, bad := s.caller(r)
	if bad != nil {
		return bad
	}
	if c.public() || f.token == "" {
		return s.introspectRefusal(c)
	}
	cl, fam := s.lookup(f.token)
	sub := subject{at: atIntrospect, client: c.ID, refuse: refuse}
	if fam != nil {
		sub.account = fam.holder
	}
	return s.perform(r, sub, func() *reply {
		out := s.describe(cl, fam, c)
		if out.Active {
			out.Issuer = s.issuer(r)
		}
		return answer(out)
	})
}

func (s *Server) introspectRefusal(c *client) *reply {
	if c.public() {
		return refuse(http.StatusUnauthorized, "invalid_client", "introspection needs a client that proves itself")
	}
	return badRequest("token is missing")
}

// lookup finds the family of an access or refresh token. Without one the family
// is nil.
func (s *Server) lookup(token string) (claims, *family) {
	cl, ok := s.mint.open(strings.TrimSpace(token))
	if !ok || cl.kind == kindCode {
		return claims{}, nil
	}
	return cl, s.store.families.get(cl.family)
}

func (s *Server) describe(cl claims, fam *family, c *client) introspection {
	now := time.Now()
	switch {
	case fam == nil:
		return introspection{}
	case cl.kind == kindAccess:
		return fam.describeAccess(now, &s.policy, cl)
	case s.cfg.IntrospectRefresh && fam.client == c:
		return fam.describeRefresh(now, &s.policy, cl)
	}
	return introspection{}
}

func (f *family) describeAccess(now time.Time, p *policy, cl claims) introspection {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.live(now, p, cl) {
		return introspection{}
	}
	return introspection{
		Active: true, Scope: f.scopeOf(cl.scopes), ClientID: f.client.ID,
		Username: f.holder.name, Subject: f.holder.name, TokenType: "Bearer",
		Issued: cl.issued / int64(time.Second), Expires: cl.end / int64(time.Second),
	}
}

func (f *family) describeRefresh(now time.Time, p *policy, cl claims) introspection {
	if f.acceptable(now, p, cl) != "" {
		return introspection{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out := introspection{
		Active: true, Scope: strings.Join(f.scopes, " "), ClientID: f.client.ID,
		Username: f.holder.name, Subject: f.holder.name,
		Issued: cl.issued / int64(time.Second),
	}
	if end := f.grantEnd(p); !end.IsZero() {
		out.Expires = end.Unix()
	}
	return out
}
