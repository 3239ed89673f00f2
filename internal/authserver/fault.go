package authserver

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of faults.
const (
	// FaultDrop closes the connection without a reply.
	FaultDrop FaultKind = "drop"
	// FaultTruncate closes the connection after half of the reply's body.
	FaultTruncate FaultKind = "truncate"
	// FaultStatus replies with Status (500 if zero) and a page of text.
	FaultStatus FaultKind = "status"
	// FaultGarbage replies 200 with a body that is not a token response.
	FaultGarbage FaultKind = "garbage"
	// FaultOversize pads the reply's JSON by 1 MiB.
	FaultOversize FaultKind = "oversize"
	// FaultRedirect replies 307 to Body, a URL.
	FaultRedirect FaultKind = "redirect"
	// FaultError replies with the OAuth error Code.
	FaultError FaultKind = "error"
	// FaultDelay waits for Delay and goes on; other faults can still happen.
	FaultDelay FaultKind = "delay"
)

// Fault is one rule of a script: which requests it meets, and what goes wrong
// with them. ParseFault and String give it a short text form.
type Fault struct {
	Kind FaultKind
	// After makes it happen when the request has taken effect: a rotation has
	// happened, only its answer is lost. False: before, and instead of it.
	After bool

	// Endpoint is authorize, token, introspect, revoke, resource or metadata.
	// Empty: token.
	Endpoint string
	// Grant limits it to token requests of this grant_type. Empty: any.
	Grant string
	// Account and Client limit it to requests about this account, by this
	// client. Empty: any.
	Account, Client string
	// From and Until limit it to the time from From until before Until, counted
	// from SetFaults. Until zero: for ever.
	From, Until time.Duration
	// Nth limits it to the n-th request that all of the above lets through,
	// counted from 1. Zero: any.
	Nth int
	// Probability limits it by chance, drawn from Config.Seed, the account and
	// the number of requests about it: the same in every run, whatever other
	// accounts do. Zero: always.
	Probability float64
	// Count is how often it happens at most. Zero: no limit.
	Count int

	// Status is the HTTP status of FaultStatus and FaultError. Zero: 500, or
	// what fits Code.
	Status int
	// RetryAfter adds a Retry-After header, in whole seconds, to FaultStatus and
	// FaultError. Zero: none.
	RetryAfter time.Duration
	// Code is the error code of FaultError.
	Code string
	// Delay is how long FaultDelay waits; a client that hangs up ends the wait.
	Delay time.Duration
	// Body replaces the body of FaultStatus and FaultGarbage, and is the target
	// of FaultRedirect.
	Body string
}

// oversize is how much FaultOversize adds, in bytes.
const oversize = 1 << 20

func (f Fault) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch f.Kind {
	case FaultDrop, FaultTruncate, FaultStatus, FaultGarbage, FaultOversize:
	case FaultError:
		if f.Code == "" {
			bad("kind error needs a code")
		}
	case FaultRedirect:
		if f.Body == "" {
			bad("kind redirect needs a body: the URL to go to")
		}
	case FaultDelay:
		if f.Delay <= 0 {
			bad("kind delay needs a delay above zero")
		}
	default:
		bad("kind %q is unknown: use drop, truncate, status, garbage, oversize, redirect, error or delay", f.Kind)
	}
	if _, ok := f.endpoint(); !ok {
		bad("endpoint %q is unknown: use authorize, token, introspect, revoke, resource or metadata", f.Endpoint)
	}
	if f.Probability < 0 || f.Probability > 1 {
		bad("probability %v is not between 0 and 1", f.Probability)
	}
	if f.Nth < 0 || f.Count < 0 || f.From < 0 || f.Until < 0 || f.RetryAfter < 0 {
		bad("nth, count, from, until and retry-after must not be negative")
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		bad("status %d is not between 200 and 599", f.Status)
	}
	return errors.Join(errs...)
}

func (f Fault) endpoint() (endpoint, bool) {
	name := cmp.Or(f.Endpoint, atToken.String())
	for e := range endpoints {
		if e.String() == name {
			return e, true
		}
	}
	return 0, false
}

// label names the fault in the ledger.
func (f Fault) label() string {
	if f.After {
		return "after " + string(f.Kind)
	}
	return "before " + string(f.Kind)
}

// damage is what becomes of a reply. Before the request took effect there is
// none yet: rep is nil.
func (f *Fault) damage(sub subject, rep *reply) *reply {
	was := rep
	if rep == nil {
		rep = &reply{status: http.StatusOK, body: []byte(`{"access_token":"truncated"}`)}
	}
	out := *rep
	switch f.Kind {
	case FaultDrop:
		out.cut = cutAll
	case FaultTruncate:
		out.cut = cutHalf
	case FaultOversize:
		out.body = pad(rep.body)
	case FaultStatus:
		status := cmp.Or(f.Status, http.StatusInternalServerError)
		out = *page(status, cmp.Or(f.Body, http.StatusText(status)))
	case FaultGarbage:
		out = *page(http.StatusOK, cmp.Or(f.Body, "<html>this is not a token</html>"))
	case FaultRedirect:
		out = *page(http.StatusTemporaryRedirect, "")
		out.header = []string{"Location", f.Body}
	case FaultError:
		out = *sub.refuse(cmp.Or(f.Status, usualStatus(f.Code)), f.Code, "injected fault")
	case FaultDelay: // late, and whole
	}
	if f.RetryAfter > 0 && (f.Kind == FaultStatus || f.Kind == FaultError) {
		out.header = append(out.header, "Retry-After", strconv.FormatInt(int64(f.RetryAfter/time.Second), 10))
	}
	out.faulty = true
	if was != nil {
		out.fresh, out.family = was.fresh, was.family
	}
	return &out
}

// pad adds a member to a JSON object.
func pad(body []byte) []byte {
	filler := append([]byte(`{"padding":"`), bytes.Repeat([]byte("x"), oversize)...)
	if len(body) < 2 || body[0] != '{' {
		return append(filler, `"}`...)
	}
	return append(append(filler, `",`...), body[1:]...)
}

func usualStatus(code string) int {
	switch code {
	case "invalid_client", "invalid_token":
		return http.StatusUnauthorized
	case "server_error":
		return http.StatusInternalServerError
	case "temporarily_unavailable":
		return http.StatusServiceUnavailable
	case "slow_down", "rate_limited":
		return http.StatusTooManyRequests
	}
	return http.StatusBadRequest
}
