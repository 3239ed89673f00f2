package authserver

import (
	"crypto/rand"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// deviceCodeGrant is the grant type of RFC 8628 section 3.4.
const deviceCodeGrant = "urn:ietf:params:oauth:grant-type:device_code"

// pendingDevice is a device authorization that was not redeemed yet.
type pendingDevice struct {
	client   *client
	scopes   []string
	userCode string
	expires  time.Time
	interval time.Duration
	asked    time.Time // when the client last asked for tokens; zero: never
	account  *account  // who approved
	denied   bool
}

// devices holds the device authorizations in circulation, by device code.
type devices struct {
	mu   sync.Mutex
	open map[string]*pendingDevice
}

// maxDevices bounds the memory that forgotten codes take.
const maxDevices = 1000

// put files a device authorization, and drops those that have expired when there are many.
func (d *devices) put(code string, p *pendingDevice, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.open) >= maxDevices {
		for c, old := range d.open {
			if now.After(old.expires) {
				delete(d.open, c)
			}
		}
	}
	if len(d.open) >= maxDevices {
		return false
	}
	if d.open == nil {
		d.open = make(map[string]*pendingDevice)
	}
	d.open[code] = p
	return true
}

// decide files a person's answer to a user code. Case and everything but letters do not count (RFC 8628 section 6.1).
func (d *devices) decide(userCode string, answer func(*pendingDevice)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.open {
		if sameUserCode(p.userCode, userCode) && time.Now().Before(p.expires) && p.account == nil && !p.denied {
			answer(p)
			return true
		}
	}
	return false
}

func sameUserCode(a, b string) bool {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < 'A' || r > 'Z' {
				return -1
			}
			return r
		}, strings.ToUpper(s))
	}
	return plain(a) == plain(b)
}

// ApproveDevice is the person who enters a user code and agrees in the name of an account. It reports false when nothing waits
// for that code.
func (s *Server) ApproveDevice(userCode, account string) bool {
	a := s.store.account(account)
	return s.devices.decide(userCode, func(p *pendingDevice) { p.account = a })
}

// DenyDevice is the person who enters a user code and declines. It reports false when nothing waits for that code.
func (s *Server) DenyDevice(userCode string) bool {
	return s.devices.decide(userCode, func(p *pendingDevice) { p.denied = true })
}

// newUserCode draws eight letters that cannot be mistaken for others and form no words (RFC 8628 section 6.1).
func newUserCode() string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b[:4]) + "-" + string(b[4:])
}

// deviceAuthorization is RFC 8628 sections 3.1 and 3.2.
func (s *Server) deviceAuthorization(r *http.Request) *reply {
	c, f, bad := s.caller(r)
	if bad != nil {
		return bad
	}
	scopes, err := c.grantable(f.scope)
	if err != nil {
		return refuse(http.StatusBadRequest, "invalid_scope", err.Error())
	}
	return s.perform(r, subject{at: atDevice, client: c.ID, refuse: refuse}, func() *reply {
		now := time.Now()
		p := &pendingDevice{
			client: c, scopes: scopes, userCode: newUserCode(), expires: now.Add(s.cfg.DeviceLifetime), interval: s.cfg.DeviceInterval,
		}
		code := rand.Text()
		if !s.devices.put(code, p, now) {
			return refuse(http.StatusServiceUnavailable, "temporarily_unavailable", "too many devices wait")
		}
		page := s.issuer(r) + "/device"
		return answer(map[string]any{
			"device_code": code, "user_code": p.userCode, "verification_uri": page,
			"verification_uri_complete": page + "?user_code=" + url.QueryEscape(p.userCode),
			"expires_in":                int(s.cfg.DeviceLifetime / time.Second), "interval": int(s.cfg.DeviceInterval / time.Second),
		})
	})
}

// devicePage is where a person enters a user code. Nobody is asked for a password: an account is named.
func (s *Server) devicePage(r *http.Request) *reply {
	switch r.Method {
	case http.MethodGet:
		rep := page(http.StatusOK, fmt.Sprintf(`<!doctype html><title>Enter the code</title><form method="post">
<p><label>Code <input name="user_code" value="%s"></label> <label>Account <input name="login_hint" value="%s"></label>
<p><button name="decision" value="approve">Approve</button> <button name="decision" value="deny">Deny</button></form>`,
			html.EscapeString(r.URL.Query().Get("user_code")), defaultAccount))
		rep.kind = "text/html; charset=utf-8"
		return rep
	case http.MethodPost:
	default:
		return notAllowed("GET, POST")
	}
	text, err := readBody(r)
	q, errForm := url.ParseQuery(text)
	if err != nil || errForm != nil {
		return page(http.StatusBadRequest, "the form cannot be read")
	}
	known := false
	if q.Get("decision") == "approve" {
		known = s.ApproveDevice(q.Get("user_code"), defaultHint(q.Get("login_hint")))
	} else {
		known = s.DenyDevice(q.Get("user_code"))
	}
	if !known {
		return page(http.StatusNotFound, "nothing waits for this code")
	}
	return page(http.StatusOK, "done: go back to your device")
}

// deviceGrant is RFC 8628 sections 3.4 and 3.5.
func (s *Server) deviceGrant(r *http.Request, c *client, f *form) *reply {
	if f.deviceCode == "" {
		return badRequest("device_code is missing")
	}
	s.devices.mu.Lock()
	var a *account
	if p := s.devices.open[f.deviceCode]; p != nil {
		a = p.account
	}
	s.devices.mu.Unlock()
	return s.perform(r, s.about(c, f, a), func() *reply { return s.identified(s.redeemDevice(c, f), r, c, a, "") })
}

// redeemDevice answers a client that asks for its tokens: when it may, and when somebody has decided.
func (s *Server) redeemDevice(c *client, f *form) *reply {
	s.devices.mu.Lock()
	defer s.devices.mu.Unlock()
	now := time.Now()
	p := s.devices.open[f.deviceCode]
	if p == nil || p.client != c {
		return badGrant("the device code is not one of this client's, or was used before")
	}
	early := !p.asked.IsZero() && now.Sub(p.asked) < p.interval
	p.asked = now
	switch {
	case !now.Before(p.expires):
		delete(s.devices.open, f.deviceCode)
		return refuse(http.StatusBadRequest, "expired_token", "nobody entered the code in time")
	case early:
		p.interval += s.cfg.DeviceInterval
		return refuse(http.StatusBadRequest, "slow_down", "ask less often")
	case p.denied:
		delete(s.devices.open, f.deviceCode)
		return refuse(http.StatusBadRequest, "access_denied", "the request was declined")
	case p.account == nil:
		return refuse(http.StatusBadRequest, "authorization_pending", "nobody has decided yet")
	}
	delete(s.devices.open, f.deviceCode)
	s.counts.enrolments.Add(1)
	return s.tokens(s.found(s.mint.familyID(p.account.name, p.account.next()), c, p.account, p.scopes, now), now)
}
