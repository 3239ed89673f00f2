package authserver

import (
	"slices"
	"time"
)

// remembered is how many refresh tokens of a family are kept. Older ones count
// as spent, whatever the class.
const remembered = 16

// tokenState is what a family remembers of one of its refresh tokens. Times are
// Unix nanoseconds.
type tokenState struct {
	seq, parent             uint32
	spentAt                 int64 // first use; 0: unused
	issued, end             int64 // as sealed into the token
	accessIssued, accessEnd int64 // of the access token that came with it last
	succeeded               bool  // see presented
	refused                 bool  // the resource refused its access token
}

func (f *family) find(seq uint32) *tokenState {
	for i := len(f.tokens) - 1; i >= 0; i-- {
		if f.tokens[i].seq == seq {
			return &f.tokens[i]
		}
	}
	return nil
}

// spend notes the use of a refresh token. A token the family forgot is nil.
func (f *family) spend(t *tokenState, now time.Time) {
	if t == nil {
		return
	}
	if t.spentAt == 0 {
		t.spentAt = now.UnixNano()
	}
	f.closeParent(t)
}

// closeParent notes that t, or its access token, was used, so that the token it
// came from is no longer needed.
func (f *family) closeParent(t *tokenState) {
	if t == nil {
		return
	}
	if parent := f.find(t.parent); parent != nil {
		parent.succeeded = true
	}
}

func (t *tokenState) presented() presented {
	if t == nil {
		return presented{}
	}
	p := presented{known: true, succeeded: t.succeeded}
	if t.spentAt != 0 {
		p.spentAt = time.Unix(0, t.spentAt)
	}
	return p
}

// forget drops one token if there are more than a family remembers: the oldest
// that is worth nothing, else the oldest. The newest stays, and so does its
// parent, which a client whose answers get lost may have to come back to.
func forget(tokens []tokenState, parent uint32, r rules, now time.Time) []tokenState {
	if len(tokens) <= remembered {
		return tokens
	}
	old := tokens[:len(tokens)-1]
	i := slices.IndexFunc(old, func(t tokenState) bool { return r.judge(t.presented(), now) == reuse })
	if i < 0 {
		i = slices.IndexFunc(old, func(t tokenState) bool { return t.seq != parent })
	}
	return slices.Delete(tokens, i, i+1)
}
