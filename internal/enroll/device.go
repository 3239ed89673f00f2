package enroll

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/freshetdev/freshet/internal/sleep"
	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// ErrCodeExpired: nobody entered the code while it was good.
var ErrCodeExpired = errors.New("nobody entered the code in time")

// deviceGrant is the grant type of RFC 8628 section 3.4.
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// Bounds of a device login.
const (
	// defaultInterval is between two questions where the provider names none, and what slow_down adds for good (RFC 8628
	// sections 3.2 and 3.5).
	defaultInterval = 5 * time.Second
	// maxInterval bounds the back-off: a person who has agreed should not wait for minutes.
	maxInterval = time.Minute
	// maxDeviceLife bounds how long a code is waited for, and stands for a lifetime that the answer leaves out.
	maxDeviceLife = 30 * time.Minute
)

// DeviceConfig describes one login with a code that is typed in on another device. Definition, Credential and Show are required.
type DeviceConfig struct {
	// Definition is the provider, with its defaults and its secrets open. It needs a device_url.
	Definition *provider.Definition
	// Credential is what the grant is stored under; see LoginConfig.
	Credential events.Credential
	// Show tells the person what to do. An error ends the login.
	Show func(DeviceCode) error
	// Save stores the grant; see LoginConfig.
	Save func(ctx context.Context, g NewGrant) error
	// Exchange talks to the provider. nil: one of its own.
	Exchange *refresh.HTTPExchange
}

// DeviceCode is what a person needs (RFC 8628 section 3.2). The texts are printable ASCII.
type DeviceCode struct {
	UserCode    string
	URL         string // to type in
	CompleteURL string // with the code in it; "" where the provider gives none
	Lifetime    time.Duration
}

// deviceAnswer is the answer of the device authorization endpoint.
type deviceAnswer struct {
	DeviceCode  string  `json:"device_code"`
	UserCode    string  `json:"user_code"`
	URL         string  `json:"verification_uri"`
	OldURL      string  `json:"verification_url"` // Google's name for it
	CompleteURL string  `json:"verification_uri_complete"`
	ExpiresIn   seconds `json:"expires_in"`
	Interval    seconds `json:"interval"`
}

// seconds are a number that some providers send as a text. Anything else counts as missing.
type seconds float64

// UnmarshalJSON implements json.Unmarshaler.
func (s *seconds) UnmarshalJSON(data []byte) error {
	var n float64
	if json.Unmarshal(bytes.Trim(data, `"`), &n) == nil {
		*s = seconds(n)
	}
	return nil
}

// DeviceLogin runs the device authorization grant (RFC 8628): it asks for a code, shows it, and asks for the tokens as often as the
// provider allows until the person has agreed.
//
// Errors: ErrDeclined, ErrCodeExpired, ErrNoAccount, ErrNoUserinfo, ErrForeignIDToken, *ExchangeError, or what Show, Save or ctx said.
func DeviceLogin(ctx context.Context, cfg DeviceConfig) (NewGrant, error) {
	label := LoginConfig{Credential: cfg.Credential}.label()
	if err := cfg.validate(); err != nil {
		return NewGrant{}, fmt.Errorf("log in to %s: %w", label, err)
	}
	if cfg.Exchange == nil {
		cfg.Exchange = refresh.NewHTTPExchange(refresh.HTTPExchangeConfig{})
		defer cfg.Exchange.CloseIdle()
	}
	grant, err := cfg.run(ctx)
	if err == nil {
		grant, err = nameAndSave(ctx, cfg.Definition, cfg.Credential, grant, cfg.Save)
	}
	if err != nil {
		return NewGrant{}, fmt.Errorf("log in to %s: %w", label, err)
	}
	return grant, nil
}

func (c DeviceConfig) validate() error {
	err := LoginConfig{Definition: c.Definition, Credential: c.Credential, OpenBrowser: PlayBrowser(nil)}.validate()
	if err == nil && c.Definition.DeviceURL == "" {
		err = fmt.Errorf("provider %s has no device_url: add it and apply the provider again, or log in without --device", c.Definition.Name)
	}
	return err
}

func (c DeviceConfig) run(ctx context.Context) (NewGrant, error) {
	var code device
	_, err := overSecrets(c.Definition, func(secret seal.Secret) (g NewGrant, err error) {
		code, err = c.begin(ctx, secret)
		return g, err
	})
	if err != nil {
		return NewGrant{}, err
	}
	if err := c.Show(code.DeviceCode); err != nil {
		return NewGrant{}, err
	}
	return c.poll(ctx, code)
}

// device is a login that waits for its person.
type device struct {
	DeviceCode
	code, secret seal.Secret // secret: the client's, the one that was accepted
	ends         time.Time
	interval     time.Duration
}

// begin asks for a code (RFC 8628 section 3.1). The client proves itself as at the token endpoint.
func (c DeviceConfig) begin(ctx context.Context, secret seal.Secret) (device, error) {
	at := *c.Definition
	at.TokenURL, at.TokenFormat = at.DeviceURL, provider.FormatForm
	form := make(url.Values)
	setOrDrop(form, "scope", at.ScopeText(at.Scopes))
	out := c.Exchange.Redeem(ctx, &at, secret, form)
	if err := ctx.Err(); err != nil && out.Phase != refresh.PhaseAnswered {
		return device{}, err
	}
	var a deviceAnswer
	if out.Phase != refresh.PhaseAnswered || json.Unmarshal(out.Body, &a) != nil || a.DeviceCode == "" || a.UserCode == "" {
		j := refresh.Classify(&at, out).Without(secret)
		return device{}, &ExchangeError{Provider: at.Name, Class: j.Class, Code: j.Code, Detail: "no device code, " + j.Detail}
	}
	return a.device(secret, out.StartedAt)
}

// device holds the answer against what can be shown and waited for.
func (a deviceAnswer) device(secret seal.Secret, asked time.Time) (device, error) {
	d := device{code: seal.NewSecret(a.DeviceCode), secret: secret, interval: defaultInterval}
	d.UserCode, d.URL = safeText(a.UserCode), cmp.Or(a.URL, a.OldURL)
	if !webURL(d.URL) {
		return device{}, errors.New("the provider names no address where the code is to be entered")
	}
	if webURL(a.CompleteURL) {
		d.CompleteURL = a.CompleteURL
	}
	if a.Interval > 0 {
		d.interval = bounded(a.Interval, time.Second, maxInterval)
	}
	d.Lifetime = maxDeviceLife
	if a.ExpiresIn > 0 {
		d.Lifetime = bounded(a.ExpiresIn, time.Second, maxDeviceLife)
	}
	d.ends = asked.Add(d.Lifetime)
	return d, nil
}

// bounded turns a provider's seconds into a duration.
func bounded(of seconds, least, most time.Duration) time.Duration {
	return time.Duration(min(max(float64(of), least.Seconds()), most.Seconds()) * float64(time.Second))
}

// webURL reports whether an address can be shown to a person, and opened, without surprise.
func webURL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && provider.Loopback(u.Hostname())) &&
		len(address) <= 2048 && !strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' })
}

// poll asks for the tokens until there is an answer that decides (RFC 8628 section 3.5).
func (c DeviceConfig) poll(ctx context.Context, d device) (NewGrant, error) {
	wait := d.interval
	for {
		if time.Until(d.ends) < wait {
			_ = sleep.For(ctx, time.Until(d.ends))
			return NewGrant{}, cmp.Or(ctx.Err(), ErrCodeExpired)
		}
		if !sleep.For(ctx, wait) {
			return NewGrant{}, ctx.Err()
		}
		out := c.Exchange.Redeem(ctx, c.Definition, d.secret, url.Values{"grant_type": {deviceGrant}, "device_code": {d.code.Reveal()}})
		grant, err := grantOfOutcome(ctx, c.Definition, out, d.code, d.secret)
		var refused *ExchangeError
		if !errors.As(err, &refused) {
			return grant, err
		}
		switch refused.Code {
		case "authorization_pending":
			wait = d.interval
		case "slow_down":
			d.interval += defaultInterval // for this and all later questions
			wait = d.interval
		case "access_denied":
			return NewGrant{}, ErrDeclined
		case "expired_token":
			return NewGrant{}, ErrCodeExpired
		default:
			if !passes(out, refused.Class) {
				return NewGrant{}, refused
			}
			// A timeout or a fault of the provider's: ask less often (RFC 8628 section 3.5).
			wait = max(min(2*wait, maxInterval), d.interval, refresh.Classify(c.Definition, out).RetryAfter)
		}
	}
}

// passes reports whether the same question may get another answer later. The device code is not spent by being presented, so an
// outcome that is not known is no reason to give up.
func passes(out refresh.Outcome, class refresh.Class) bool {
	switch {
	case class == refresh.ClassLocal:
		return false
	case out.Phase != refresh.PhaseAnswered, class == refresh.ClassTransient, class == refresh.ClassThrottled:
		return true
	}
	return out.Status >= http.StatusInternalServerError
}
