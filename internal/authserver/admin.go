package authserver

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// ErrUnknownClient is returned where a client id is not registered.
var ErrUnknownClient = errors.New("unknown client")

// Tokens is a grant made without the code flow. It holds secrets; printing it
// shows none.
type Tokens struct {
	Account      string
	AccessToken  string
	RefreshToken string
	// ExpiresAt is when the access token ends.
	ExpiresAt time.Time
	Scopes    []string
}

// String and GoString leave the tokens out.
func (t Tokens) String() string { return "tokens of " + t.Account }

// GoString is String.
func (t Tokens) GoString() string { return t.String() }

// Issue makes a grant for the account at once: enrolment in bulk. An empty
// client means the first one configured; without scopes the grant gets the
// client's. It returns ErrUnknownClient, or what is wrong with the scopes.
func (s *Server) Issue(account, clientID string, scopes ...string) (Tokens, error) {
	if clientID == "" {
		clientID = s.cfg.Clients[0].ID
	}
	c := s.clients[clientID]
	if c == nil {
		return Tokens{}, ErrUnknownClient
	}
	granted, err := c.grantable(strings.Join(scopes, " "))
	if err != nil {
		return Tokens{}, err
	}
	a, now := s.store.account(account), time.Now()
	p := s.found(s.mint.familyID(a.name, a.next()), c, a, granted, now)
	s.counts.issued.Add(1)
	return Tokens{
		Account:      account,
		AccessToken:  s.mint.seal(p.access),
		RefreshToken: s.mint.seal(p.refresh),
		ExpiresAt:    time.Unix(0, p.access.end),
		Scopes:       slices.Clone(granted),
	}, nil
}

// Revoke withdraws every grant of the account, as its owner would at the
// provider, and returns how many lived. Refreshing them is then invalid_grant.
func (s *Server) Revoke(account string) int {
	a := s.store.accounts.get(account)
	if a == nil {
		return 0
	}
	n := 0
	for _, f := range a.grants() {
		if f.finish(EndWithdrawn, time.Now()) {
			n++
		}
	}
	s.counts.withdrawn.Add(int64(n))
	return n
}

// AccountState is what the server knows of an account.
type AccountState struct {
	Account string `json:"account"`
	// Grants are the account's grants, oldest first, at most 16.
	Grants []GrantState `json:"grants"`
}

// GrantState is what the server knows of one grant.
type GrantState struct {
	Client  string    `json:"client"`
	Scopes  []string  `json:"scopes"`
	Created time.Time `json:"created"`
	// Used is when it was last refreshed, or created.
	Used time.Time `json:"used"`
	// AccessTokens and RefreshTokens count the tokens issued.
	AccessTokens  int `json:"access_tokens"`
	RefreshTokens int `json:"refresh_tokens"`
	// Presentations counts the refresh tokens presented, refused ones included.
	Presentations int `json:"presentations"`
	// Lost counts rotations whose answer was damaged by a fault or found nobody
	// listening.
	Lost int `json:"lost"`
	// AccessEnds is when the newest access token ends.
	AccessEnds time.Time `json:"access_ends"`
	// Remembered is how many refresh tokens are kept in memory, at most 16.
	Remembered int `json:"remembered"`
	// Ended is why the grant ended; empty: it lives.
	Ended   EndReason `json:"ended,omitempty"`
	EndedAt time.Time `json:"ended_at,omitzero"`
}

// Account returns what the server knows of an account; nothing, if it does not
// know it.
func (s *Server) Account(account string) AccountState {
	out := AccountState{Account: account}
	a := s.store.accounts.get(account)
	if a == nil {
		return out
	}
	for _, f := range a.grants() {
		out.Grants = append(out.Grants, f.state(time.Now(), &s.policy))
	}
	return out
}

func (f *family) state(now time.Time, p *policy) GrantState {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over(now, p)
	return GrantState{
		Client:        f.client.ID,
		Scopes:        slices.Clone(f.scopes),
		Created:       f.created,
		Used:          f.used,
		AccessTokens:  int(f.version),
		RefreshTokens: int(f.seq),
		Presentations: f.presentations,
		Lost:          f.lost,
		AccessEnds:    time.Unix(0, f.find(f.seq).accessEnd),
		Remembered:    len(f.tokens),
		Ended:         f.ended,
		EndedAt:       f.endedAt,
	}
}

// Why an account is lost, besides the EndReasons of its grant.
const (
	// LossSpent: the held token was rotated away, its successor never stored.
	LossSpent = "spent"
	// LossUnknown: what is held is no refresh token of this account.
	LossUnknown = "unknown"
)

// Loss is an account that its holder can no longer refresh.
type Loss struct {
	Account string `json:"account"`
	// Why is LossSpent, LossUnknown or the EndReason of the grant.
	Why string `json:"why"`
}

// Lost judges what a client's store holds in the end: for each account the
// refresh token held, empty if the record is gone. It returns the accounts whose
// token would not be accepted now, by name. A grant that was withdrawn is not
// lost: somebody wanted that.
func (s *Server) Lost(held map[string]string) []Loss {
	var out []Loss
	for account, token := range held {
		if why := s.loss(account, token, time.Now()); why != "" {
			out = append(out, Loss{account, why})
		}
	}
	slices.SortFunc(out, func(a, b Loss) int { return strings.Compare(a.Account, b.Account) })
	return out
}

func (s *Server) loss(account, token string, now time.Time) string {
	cl, ok := s.mint.openAs(kindRefresh, token)
	f := s.store.families.get(cl.family)
	if !ok || f == nil || f.holder.name != account {
		return LossUnknown
	}
	if why := f.acceptable(now, &s.policy, cl); why != string(EndWithdrawn) {
		return why
	}
	return ""
}
