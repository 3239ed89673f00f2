package refresh

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// MaxRetryAfter is how much of a Retry-After is believed.
const MaxRetryAfter = time.Hour

const (
	maxCode   = 64  // bytes of Judgement.Code
	maxDetail = 200 // bytes of Judgement.Detail
)

// Classify reads an outcome: what the refresh token's state must be taken for, and so what may be done next. The
// answer's error code decides, first by the provider's own words, then by those of the RFCs; the HTTP status counts
// only where no code is known, because providers send invalid_grant with 400, 401, 403 and even 200.
//
// What is read as ClassUnknown on purpose, since it marks no person, pauses no lane and is tried again only as the
// rotation class allows:
//   - any code that is not known here: nobody is asked to log in again on a word we do not understand;
//   - invalid_request: one server asks with it to try again, another means a dead token; where its meaning is known,
//     the provider's words say so;
//   - server_error and 5xx without Retry-After: a gateway may fail after the token was spent;
//   - a 401 with a body but without a code. RFC 6749 section 5.2 gives 401 to failed client authentication only, so
//     with an empty body it is read as ClassMisconfigured (unless the client has no secret to be wrong); a body
//     without a code is as often a gateway's, or about one token, and one account must not pause a lane;
//   - redirects, and a 2xx without a token.
func Classify(d *provider.Definition, o Outcome) Judgement {
	switch {
	case o.Phase == PhaseAnswered:
		return judgeAnswer(d, o)
	case o.Phase != PhaseNotSent:
		return Judgement{Class: ClassUnknown, Detail: printable(o.Err)}
	case o.Local:
		return Judgement{Class: ClassLocal, Detail: printable(o.Err)}
	default:
		return Judgement{Class: ClassTransient, Detail: printable(o.Err)}
	}
}

func judgeAnswer(d *provider.Definition, o Outcome) Judgement {
	m, err := readMembers(o.ContentType, o.Body)
	if err == nil && isSuccess(o.Status) {
		var reply Reply
		if reply, err = m.shaped(d.Reply).reply(); err == nil {
			if d.Grant.Remints() {
				reply.RefreshToken, reply.GrantLifetime = seal.Secret{}, 0 // RFC 6749 section 4.4.3: there should be none; the next token is asked for anew
			}
			return Judgement{Class: ClassOK, Reply: reply, Detail: statusText(o.Status)}.Without(d.ClientSecrets...)
		}
	}
	j := Judgement{Detail: statusText(o.Status)}
	wait, asked := retryAfter(o)
	j.RetryAfter = wait
	class, code := judgeCodes(d.Words, m.codes(d.Reply.Codes...))
	if class == "" {
		class = judgeStatus(d, o, asked)
	}
	j.Class, j.Code = class, safeCode(code, d.ClientSecrets)
	switch {
	case j.Code != "":
		j.Detail += ", " + j.Code
	case code != "":
		j.Detail += ", error code withheld"
	case errors.Is(err, ErrUnreadable):
		j.Detail += ", " + err.Error()
	}
	return j
}

func isSuccess(status int) bool { return 200 <= status && status <= 299 }

func statusText(status int) string { return "HTTP " + strconv.Itoa(status) }

// judgeCodes returns the class of the first code with a known meaning, and that code in its usual spelling; without
// one, no class and the first code.
func judgeCodes(w provider.Words, codes []string) (Class, string) {
	for _, code := range codes {
		if class := classOfProvider(w, code); class != "" {
			return class, code
		}
	}
	for _, code := range codes {
		if class := classOfRFC(canonical(code)); class != "" {
			return class, canonical(code)
		}
	}
	if len(codes) == 0 {
		return "", ""
	}
	return "", codes[0]
}

// classOfProvider looks a code up in the provider's own words. A word in several lists has the milder meaning.
func classOfProvider(w provider.Words, code string) Class {
	code = canonical(code)
	has := func(words []string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return canonical(word) == code })
	}
	switch {
	case has(w.NotConsumed):
		return ClassTransient
	case has(w.Throttled):
		return ClassThrottled
	case has(w.Misconfigured):
		return ClassMisconfigured
	case has(w.Rejected):
		return ClassRejected
	}
	return ""
}

// classOfRFC knows the codes with one meaning everywhere: RFC 6749 sections 5.2 and 4.1.2.1, RFC 8628 section 3.5,
// RFC 8707 section 2, RFC 9449 section 8, and what rate limits are called.
func classOfRFC(code string) Class {
	switch code {
	case "invalid_grant":
		return ClassRejected
	case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target":
		return ClassMisconfigured
	case "temporarily_unavailable", "use_dpop_nonce":
		return ClassTransient
	case "slow_down", "rate_limited", "ratelimited", "rate_limit", "rate_limit_exceeded", "rate_limit_reached",
		"rate_limit_error", "too_many_requests", "toomanyrequests", "throttled", "throttling", "quota_exceeded":
		return ClassThrottled
	}
	return ""
}

// judgeStatus is for answers without a code of known meaning.
func judgeStatus(d *provider.Definition, o Outcome, retryAfter bool) Class {
	switch o.Status {
	case http.StatusTooManyRequests:
		return ClassThrottled
	case http.StatusServiceUnavailable:
		if retryAfter {
			return ClassTransient
		}
	case http.StatusUnauthorized:
		if d.AuthStyle != provider.AuthNone && len(bytes.TrimSpace(o.Body)) == 0 {
			return ClassMisconfigured
		}
	}
	return ClassUnknown
}

// retryAfter reads Retry-After (RFC 9110 section 10.2.3), within 0 and MaxRetryAfter. A date counts from the
// provider's own clock where it sent one.
func retryAfter(o Outcome) (wait time.Duration, ok bool) {
	text := strings.TrimSpace(o.RetryAfter)
	if secs, err := strconv.ParseFloat(text, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		switch {
		case secs >= MaxRetryAfter.Seconds():
			return MaxRetryAfter, true
		case secs > 0:
			return time.Duration(secs * float64(time.Second)), true
		}
		return 0, !math.IsNaN(secs)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(o.Date)
	if err != nil {
		now = o.EndedAt
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter), true
}

// Without returns the judgement without anything that repeats one of the secrets that were sent. A provider may
// echo the request; only whoever made it can recognise that.
func (j Judgement) Without(sent ...seal.Secret) Judgement {
	for _, s := range sent {
		if echoes(j.Code, s.Reveal()) || echoes(j.Detail, s.Reveal()) {
			j.Code, j.Detail = "", "withheld: the provider repeated what was sent"
		}
		j.Reply = j.Reply.without(s)
	}
	return j
}
