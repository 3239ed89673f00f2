package provider

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/freshetdev/freshet/pkg/seal"
)

// Fault is one thing that is wrong with a definition.
type Fault struct {
	Provider string
	Field    string // as it is written in a file, such as "refresh.min_lead"
	Problem  string // what is wrong and what to do
}

// Error implements error.
func (f *Fault) Error() string {
	return fmt.Sprintf("provider %s: %s: %s", f.Provider, f.Field, f.Problem)
}

// Validate reports everything that is wrong with the definition as it is with its defaults. The error joins one
// *Fault for each (errors.Join). The secrets must be in place, so validate before an Entry is sealed
// or after it was opened.
func (d Definition) Validate() error {
	d = d.WithDefaults()
	var f faults
	d.checkName(&f)
	d.checkGrant(&f)
	d.checkURLs(&f)
	d.checkClient(&f)
	d.checkClientAssertion(&f)
	d.checkTokenRequest(&f)
	d.checkScopes(&f)
	d.checkRotation(&f)
	d.Refresh.check(&f)
	d.Limits.check(&f)
	d.Words.check(&f)
	d.Dialect.check(&f, d.Scopes)
	d.RefreshLife.check(&f)
	return f.join(d.Name)
}

// faults collects what is wrong, in the order of the fields.
type faults []*Fault

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, &Fault{Field: field, Problem: fmt.Sprintf(format, args...)})
}

func (f faults) join(provider string) error {
	errs := make([]error, len(f))
	for i, fault := range f {
		fault.Provider = provider
		errs[i] = fault
	}
	return errors.Join(errs...)
}

func (d Definition) checkName(f *faults) {
	if !validName(d.Name) {
		f.add("name", "%q cannot name a provider: want 1 to 32 of a-z, 0-9 and -, not starting with -", d.Name)
	}
}

func validName(name string) bool {
	if name == "" || len(name) > 32 || name[0] == '-' {
		return false
	}
	return only(name, func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' })
}

// only reports whether every byte of s is ok.
func only(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// checkClient holds the authentication style against the secrets.
func (d Definition) checkClient(f *faults) {
	switch {
	case d.ClientID == "" && d.Grant == GrantJWTBearer && d.AuthStyle == AuthNone: // RFC 7521 section 4.1: the assertion is enough
	case d.ClientID == "":
		f.add("client_id", "missing: give the id under which the provider knows this client")
	case !only(d.ClientID, func(c byte) bool { return 0x20 <= c && c <= 0x7e }): // RFC 6749 appendix A.1
		f.add("client_id", "%q has characters that no client id may have; only printable ASCII is allowed", d.ClientID)
	}
	if i := slices.IndexFunc(d.ClientSecrets, seal.Secret.IsZero); i >= 0 {
		f.add("client_secret", "secret %d of %d is empty", i+1, len(d.ClientSecrets))
	}
	secrets := len(d.ClientSecrets) > 0
	switch d.AuthStyle {
	case AuthBasic, AuthPost:
		if !secrets {
			f.add("client_secret", "missing: auth_style %s sends one; a public client has auth_style none", d.AuthStyle)
		}
	case AuthNone:
		if secrets {
			f.add("auth_style", "none sends no secret, but there is a client_secret: choose basic or post, or remove the secret")
		}
	case "":
		f.add("auth_style", "missing: a client with a secret must say how the provider wants it, basic or post; it is never guessed")
	case AuthPrivateKeyJWT:
	default:
		f.add("auth_style", "%q is no way to authenticate: want basic, post, none or private_key_jwt", d.AuthStyle)
	}
}

func (d Definition) checkScopes(f *faults) {
	for _, s := range d.Scopes {
		// RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E
		if s == "" || !only(s, func(c byte) bool { return 0x21 <= c && c <= 0x7e && c != '"' && c != '\\' }) {
			f.add("scopes", "%q is not a scope: want printable ASCII without blanks, quotes and backslashes, one scope each", s)
		}
	}
}

func (d Definition) checkRotation(f *faults) {
	switch d.Rotation {
	case RotationGrace:
		checkDuration(f, "rotation_grace", d.RotationGrace, time.Second, 365*day)
		return
	case RotationNone, RotationOverlap, RotationUntilUsed, RotationStrict:
	default:
		f.add("rotation", "%q is no rotation class: want none, overlap, grace, until_used or strict", d.Rotation)
	}
	if d.RotationGrace != 0 {
		f.add("rotation_grace", "%s has no meaning with rotation %s: choose rotation grace, or remove it", d.RotationGrace, d.Rotation)
	}
}

func (r Refresh) check(f *faults) {
	const longest = 10 * 365 * day
	checkDuration(f, "refresh.min_lead", r.MinLead, time.Second, 30*day)
	checkDuration(f, "refresh.max_lead", r.MaxLead, time.Second, 30*day)
	if r.MinLead > r.MaxLead {
		f.add("refresh.min_lead", "%s is longer than max_lead, %s", r.MinLead, r.MaxLead)
	}
	if r.MaxLifetime != Never {
		checkDuration(f, "refresh.max_lifetime", r.MaxLifetime, time.Second, longest)
	}
	if r.DefaultLifetime != Never {
		checkDuration(f, "refresh.default_lifetime", r.DefaultLifetime, time.Second, longest)
		if r.DefaultLifetime > r.MaxLifetime {
			f.add("refresh.default_lifetime", "%s is longer than max_lifetime, %s", r.DefaultLifetime, r.MaxLifetime)
		}
	}
	if r.Cron != "" {
		if _, err := ParseCron(r.Cron); err != nil {
			f.add("refresh.cron", "%v; want five fields such as \"0 3 * * *\", if need be after CRON_TZ=Europe/Berlin", err)
		}
	}
	if r.KeepAlive != 0 { // five seconds: nothing is refreshed sooner than that after a success
		checkDuration(f, "refresh.keep_alive", r.KeepAlive, 5*time.Second, longest)
	}
	if r.EarlyRefused != 0 {
		checkDuration(f, "refresh.early_refused", r.EarlyRefused, time.Second, 30*day)
	}
}

func checkDuration(f *faults, field string, d Duration, least, most time.Duration) {
	switch {
	case d == 0:
		f.add(field, "missing: want %s to %s", Duration(least), Duration(most))
	case d.Std() < least || d.Std() > most:
		f.add(field, "%s is out of bounds: want %s to %s", d, Duration(least), Duration(most))
	}
}

func (l Limits) check(f *faults) {
	const mostConcurrent = 10_000
	if l.Concurrency < 1 || l.Concurrency > mostConcurrent {
		f.add("limits.concurrency", "%d is out of bounds: want 1 to %d calls in flight", l.Concurrency, mostConcurrent)
	}
	if rate := float64(l.Rate); !(rate >= 0) || math.IsInf(rate, 0) { // so written, NaN is caught too
		f.add("limits.rate", "%v is no rate: want more than 0, such as 50/s, or nothing for no limit", rate)
	}
	checkDuration(f, "limits.timeout", l.Timeout, minTimeout, maxTimeout)
}

// check refuses a word that says two things.
func (w Words) check(f *faults) {
	const longest = 64 // bytes
	listed := make(map[string]string)
	for _, list := range []struct {
		field string
		words []string
	}{
		{"words.not_consumed", w.NotConsumed}, {"words.throttled", w.Throttled},
		{"words.rejected", w.Rejected}, {"words.misconfigured", w.Misconfigured},
	} {
		for _, word := range list.words {
			if word == "" || len(word) > longest || !only(word, func(c byte) bool { return 0x20 <= c && c <= 0x7e }) {
				f.add(list.field, "%q cannot be an error code: want 1 to %d characters of printable ASCII", word, longest)
			}
			if first, ok := listed[word]; ok && first != list.field {
				f.add(list.field, "%q is in %s too: a word has one meaning", word, first)
			}
			listed[word] = list.field
		}
	}
}
