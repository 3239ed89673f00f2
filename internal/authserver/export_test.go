package authserver

import (
	"strings"
	"time"
)

// Judge names the verdict on a refresh token first used so long ago; negative
// means never.
func Judge(cfg Config, known bool, ago time.Duration, succeeded bool) string {
	now := time.Unix(1000, 0)
	p := presented{known: known, succeeded: succeeded}
	if ago >= 0 {
		p.spentAt = now.Add(-ago)
	}
	r := rules{class: cfg.Rotation, grace: cfg.Grace, same: cfg.GraceSame}
	return []string{"rotate", "keep", "reuse"}[r.judge(p, now)]
}

// NothingLeft judges the holder of an access token of the given lifetime, so
// long before its end.
func NothingLeft(lead, lifetime, before time.Duration, refused bool) bool {
	now := time.Unix(1000, 0)
	end := now.Add(before)
	return rules{lead: lead}.nothingLeft(end.Add(-lifetime), end, refused, now)
}

// MaxPerSecond counts requests that begin at the given times.
func MaxPerSecond(at ...time.Duration) ClientLedger {
	var w window
	for _, d := range at {
		w.addAt(time.Unix(1000, 0).Add(d))
	}
	return w.ledger()
}

// ParseForm returns the parsed value of scope, as one of those that are known.
func ParseForm(text string) (scope string, err error) {
	f, err := parseForm(text)
	return f.scope, err
}

// Opens tells whether a server's mint knows a token, and whether the token it
// would make of the claims is the same.
func Opens(s *Server, token string) (known, same bool) {
	c, ok := s.mint.open(token)
	return ok, ok && strings.Compare(s.mint.seal(c), token) == 0
}
