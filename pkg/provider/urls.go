package provider

import (
	"errors"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// checkURLs also asks for the one endpoint nothing works without.
func (d Definition) checkURLs(f *faults) {
	if d.TokenURL == "" && d.Issuer == "" { // apply asks the issuer for it
		f.add("token_url", "missing: give the provider's token endpoint, or its issuer where it publishes metadata")
	}
	for _, u := range []struct{ field, value string }{
		{"issuer", d.Issuer}, {"auth_url", d.AuthURL}, {"token_url", d.TokenURL}, {"device_url", d.DeviceURL},
		{"revoke_url", d.RevokeURL}, {"introspect_url", d.IntrospectURL},
		{"userinfo_url", d.UserinfoURL},
	} {
		if u.value == "" {
			continue
		}
		if problem := urlProblem(u.value); problem != "" {
			f.add(u.field, "%s", problem)
		}
	}
	if p := d.CallbackPath; p != "" && (path.Clean(p) != p || !callbackPaths.MatchString(p)) {
		f.add("callback_path", "want a plain path such as /callback/acme")
	}
	if strings.Contains(d.Issuer, "?") {
		f.add("issuer", "has a query, which RFC 8414 section 2 forbids")
	}
}

// callbackPaths need no encoding, since providers compare them byte by byte.
var callbackPaths = regexp.MustCompile(`^/[A-Za-z0-9._~/-]{1,200}$`)

// urlProblem says what is wrong with an endpoint's URL, or "". RFC 6749 sections 3.1 and 3.2 forbid fragments.
func urlProblem(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		// url.Error repeats the whole URL, which may carry a password.
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return "not a URL: " + err.Error()
	case u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return "want an absolute URL such as https://login.example.com/token"
	case u.User != nil:
		return "has a user name or password in it: remove it; client_id and client_secret are how a client signs in"
	case strings.Contains(raw, "#"):
		return "has a fragment (#…), which no endpoint may have: remove it"
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return "plain http would show tokens to the network: want https (http is for localhost, 127.0.0.0/8 and ::1 only)"
	}
	return ""
}

// Loopback reports whether host, as url.URL.Hostname gives it, is this very machine: localhost, 127.0.0.0/8
// or ::1. Only there may a token endpoint do without TLS.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// resourceProblem says what is wrong with a resource indicator, or "" (RFC 8707 section 2).
func resourceProblem(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || strings.Contains(raw, "#") {
		return "want absolute URIs without a fragment (RFC 8707 section 2)"
	}
	return ""
}
