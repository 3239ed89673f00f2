package authserver

import (
	"slices"
	"strings"
	"time"
)

// accept tells whether an access token is good, and for which scope, and takes
// note of its use.
func (f *family) accept(now time.Time, p *policy, c claims) (scope string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.live(now, p, c) {
		return "", false
	}
	f.closeParent(f.find(c.seq))
	return f.scopeOf(c.scopes), true
}

// live tells whether an access token is good.
func (f *family) live(now time.Time, p *policy, c claims) bool {
	return now.UnixNano() < c.end && c.version >= f.accessFrom && f.over(now, p) == ""
}

// refuse notes that the resource refused the access token that came with the
// refresh token seq.
func (f *family) refuse(seq uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.find(seq); t != nil {
		t.refused = true
	}
}

// killAccess ends an access token, and those issued before it: remembering each
// one that was revoked would have no bound.
func (f *family) killAccess(c claims) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accessFrom = max(f.accessFrom, c.version+1)
}

// machineToken makes an access token for the client itself. The scopes it asks
// for are added to those of the family; there is no room for more than
// maxScopes.
func (f *family) machineToken(now time.Time, p *policy, scopes []string) (pair, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var mask uint32
	for _, s := range scopes {
		i := slices.Index(f.scopes, s)
		if i < 0 {
			if i = len(f.scopes); i == maxScopes {
				return pair{}, false
			}
			f.scopes = append(f.scopes, s)
		}
		mask |= 1 << i
	}
	return pair{access: f.access(now, p, mask), scope: f.scopeOf(mask)}, true
}

// mask returns the bits of the scopes asked for; none means all. Asking for
// more than the grant holds is not ok (RFC 6749 section 6).
func (f *family) mask(scope string) (bits uint32, ok bool) {
	if scope == "" {
		return 1<<len(f.scopes) - 1, true
	}
	for s := range strings.FieldsSeq(scope) {
		i := slices.Index(f.scopes, s)
		if i < 0 {
			return 0, false
		}
		bits |= 1 << i
	}
	return bits, true
}

func (f *family) scopeOf(bits uint32) string {
	if bits == 1<<len(f.scopes)-1 {
		return strings.Join(f.scopes, " ")
	}
	var some []string
	for i, s := range f.scopes {
		if bits&(1<<i) != 0 {
			some = append(some, s)
		}
	}
	return strings.Join(some, " ")
}
