package enroll

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/freshetdev/freshet/pkg/provider"
)

// issuer is whom an authorization response must come from (RFC 9207).
type issuer struct {
	name  string // "": not known, and not compared
	named bool   // it names itself in every response, so one without iss is not its own
}

func issuerOf(d *provider.Definition) issuer { return issuer{name: d.Issuer, named: d.IssInAnswer} }

// sent reports whether the issuer may have sent the answer: iss is compared byte by byte (RFC 9207 section 2.4).
func (i issuer) sent(q url.Values) bool {
	if !q.Has("iss") {
		return !i.named
	}
	return i.name == "" || q.Get("iss") == i.name
}

// readCallback reads the answer to an authorization request whose state was right (RFC 6749 sections 4.1.2 and 4.1.2.1).
func readCallback(q url.Values, from issuer) callback {
	for _, name := range []string{"code", "error", "iss"} {
		if len(q[name]) > 1 {
			return callback{err: fmt.Errorf("the provider's answer has %s more than once", name)}
		}
	}
	switch code, refusal := q.Get("code"), q.Get("error"); {
	case !from.sent(q):
		return callback{err: ErrMixUp}
	case refusal == "access_denied":
		return callback{err: ErrDeclined}
	case refusal != "":
		return callback{err: &AuthorizationError{Code: safeWord(refusal), Description: safeText(q.Get("error_description"))}}
	case code == "":
		return callback{err: errors.New("the provider's answer has neither a code nor an error")}
	default:
		return callback{code: code}
	}
}
