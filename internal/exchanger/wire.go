package exchanger

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

const (
	// maxCall bounds a request's body: a provider's long refresh token, and room.
	maxCall = 512 << 10
	// maxHeld bounds the sealed outcomes in one answer to GET /v1/held, give or take one.
	maxHeld = 4 << 20
	// maxAnswer bounds an answer: maxHeld and one outcome more (refresh.MaxReply), each base64 twice.
	maxAnswer = 8 << 20
	// maxWait bounds the wait for held outcomes.
	maxWait = time.Minute
	// maxAhead bounds how far ahead a deadline may be: the longest timeout of a provider is 5 minutes, its claim a quarter
	// longer.
	maxAhead = 10 * time.Minute
	// maxApart is how much wall clock and clock since boot may disagree between a request's sending and its receipt.
	maxApart = 5 * time.Second
	// keepKnown is how long after its deadline an attempt stays known. Requests are repeated until handover after the
	// deadline, which is well before.
	keepKnown = 10 * time.Second
	// handover is what a client gives the exchanger after the deadline to hand over what came at the last moment.
	handover = 500 * time.Millisecond
)

// call is an attempt on the wire. It holds secrets in the clear and is never printed.
type call struct {
	Ticket       refresh.Ticket     `json:"ticket"`
	Store        string             `json:"store"`
	Latest       moment             `json:"latest"`   // for the first byte
	Deadline     moment             `json:"deadline"` // for the whole answer
	TokenURL     string             `json:"token_url"`
	ClientID     string             `json:"client_id"`
	AuthStyle    provider.AuthStyle `json:"auth_style"`
	Grant        provider.GrantType `json:"grant"`
	Scopes       []string           `json:"scopes,omitempty"`
	Dialect      provider.Dialect   `json:"dialect,omitzero"`
	ClientSecret string             `json:"client_secret,omitempty"`
	RefreshToken string             `json:"refresh_token,omitempty"`
	provider.TokenRequest

	// What assertions are made of, here and for this attempt alone.
	Issuer          string                  `json:"issuer,omitempty"`
	ClientAssertion provider.Assertion      `json:"client_assertion,omitzero"`
	Assertion       provider.GrantAssertion `json:"assertion,omitzero"`
	AssertionKey    string                  `json:"assertion_key,omitempty"`
	Subject         string                  `json:"subject,omitempty"`

	PrivateNetwork bool `json:"private_network,omitempty"`
}

// newCall writes down a request. Its durations become instants here.
func newCall(r refresh.Request, store string, now moment) call {
	deadline := now.plus(time.Until(r.Deadline))
	latest := deadline
	if r.Fence != nil {
		latest = now.plus(min(r.Fence(), time.Until(r.Deadline)))
	}
	d := r.Provider
	return call{
		Ticket: r.Ticket, Store: store, Latest: latest, Deadline: deadline,
		TokenURL: d.TokenURL, ClientID: d.ClientID, AuthStyle: d.AuthStyle, Grant: d.Grant, Scopes: d.Scopes, Dialect: d.Dialect,
		ClientSecret: r.ClientSecret.Reveal(), RefreshToken: r.RefreshToken.Reveal(), TokenRequest: d.TokenRequest,
		Issuer: d.Issuer, ClientAssertion: d.ClientAssertion, Assertion: d.Assertion, AssertionKey: d.AssertionKey.Reveal(),
		Subject: r.Subject, PrivateNetwork: d.PrivateNetwork,
	}
}

// request is the inverse, at the receiver's. fence is asked before the first byte.
func (c *call) request(now moment, fence func() time.Duration) refresh.Request {
	return refresh.Request{
		Ticket: c.Ticket,
		Provider: &provider.Definition{
			TokenURL: c.TokenURL, ClientID: c.ClientID, AuthStyle: c.AuthStyle, Grant: c.Grant, Scopes: c.Scopes, Dialect: c.Dialect,
			TokenRequest: c.TokenRequest, PrivateNetwork: c.PrivateNetwork,
			Issuer: c.Issuer, ClientAssertion: c.ClientAssertion, Assertion: c.Assertion, AssertionKey: seal.NewSecret(c.AssertionKey),
		},
		ClientSecret: seal.NewSecret(c.ClientSecret), RefreshToken: seal.NewSecret(c.RefreshToken), Subject: c.Subject,
		Deadline: time.Now().Add(c.Deadline.left(now)), Fence: fence,
	}
}

// validate reports what no client of ours would send. It quotes nothing.
func (c *call) validate(id string) error {
	var faults []error
	if !validID(id) || c.Ticket.Attempt != id {
		faults = append(faults, errors.New("the attempt's id is missing, malformed, or not that of the ticket"))
	}
	if c.Ticket.Key == "" {
		faults = append(faults, errors.New("the ticket names no key"))
	}
	if !c.Latest.valid() || !c.Deadline.valid() {
		faults = append(faults, errors.New("an instant is missing or negative"))
	}
	return errors.Join(faults...)
}

// validID accepts what can stand in a path and in a journal entry's id.
func validID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, ch := range []byte(id) {
		alnum := '0' <= ch && ch <= '9' || 'a' <= ch && ch <= 'z' || 'A' <= ch && ch <= 'Z'
		if !alnum && ch != '-' && ch != '_' {
			return false
		}
	}
	return true
}

// held is a sealed outcome.
type held struct {
	ID   string `json:"id"`
	Key  string `json:"key"`
	Data []byte `json:"data"`
}

type heldList struct {
	Status status `json:"status"`
	Held   []held `json:"held"`
}

type acknowledgement struct {
	IDs []string `json:"ids"`
}

// status is what an exchanger says of itself.
type status struct {
	Store string `json:"store"`
	// Proof opens with the keyset and namespace of a worker that will be able to open the outcomes.
	Proof    []byte `json:"proof"`
	Refusing string `json:"refusing,omitempty"`
	InFlight int    `json:"in_flight"`
	Held     int    `json:"held"`
}

// The words of a refusal.
const (
	refusedLate     = "late"
	refusedStale    = "stale"
	refusedGone     = "gone"
	refusedForeign  = "foreign"
	refusedBusy     = "busy"
	refusedStopping = "stopping"
	refusedFull     = "full"
	refusedClocks   = "clocks"
	refusedBad      = "bad"
	refusedUnknown  = "unknown"
)

// refusal says why a request was not taken.
type refusal struct {
	Word   string `json:"refused"`
	Detail string `json:"detail"`
}

// Error implements error.
func (r *refusal) Error() string { return fmt.Sprintf("exchanger refuses (%s): %s", r.Word, r.Detail) }

func refuse(word, detail string) *refusal { return &refusal{Word: word, Detail: detail} }

func (r *refusal) httpStatus() int {
	switch r.Word {
	case refusedLate, refusedStale, refusedGone:
		return http.StatusGone
	case refusedForeign:
		return http.StatusConflict
	case refusedUnknown:
		return http.StatusNotFound
	case refusedBusy, refusedStopping:
		return http.StatusServiceUnavailable
	case refusedFull:
		return http.StatusInsufficientStorage
	}
	return http.StatusBadRequest
}
