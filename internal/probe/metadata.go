package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/freshetdev/freshet/pkg/provider"
)

// metadata is what is looked at of RFC 8414 section 2, which OpenID Connect Discovery names the same.
type metadata struct {
	Issuer        string   `json:"issuer"`
	AuthURL       string   `json:"authorization_endpoint"`
	TokenURL      string   `json:"token_endpoint"`
	DeviceURL     string   `json:"device_authorization_endpoint"`
	RevokeURL     string   `json:"revocation_endpoint"`
	IntrospectURL string   `json:"introspection_endpoint"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
}

// metadata compares the definition with what the issuer publishes.
func (p *Prober) metadata(ctx context.Context, d *provider.Definition) []Check {
	m, at, err := p.discover(ctx, d.Issuer)
	if err != nil {
		return []Check{{"issuer", Warn, err.Error(), "if the provider publishes no metadata, this is all right; otherwise check issuer"}}
	}
	if m.Issuer != d.Issuer {
		return []Check{{"issuer", Fail, fmt.Sprintf("%s is of the issuer %q", at, m.Issuer), "set issuer to exactly that, if it is whom you mean"}}
	}
	checks := []Check{{"issuer", OK, "metadata at " + at, ""}}
	for _, e := range []struct{ key, ours, theirs string }{
		{"auth_url", d.AuthURL, m.AuthURL}, {"token_url", d.TokenURL, m.TokenURL}, {"device_url", d.DeviceURL, m.DeviceURL},
		{"revoke_url", d.RevokeURL, m.RevokeURL}, {"introspect_url", d.IntrospectURL, m.IntrospectURL},
	} {
		if e.ours != "" && e.theirs != "" && e.ours != e.theirs {
			checks = append(checks, Check{"issuer", Warn, fmt.Sprintf("the metadata has %s %q", e.key, e.theirs), "check " + e.key})
		}
	}
	methods := map[provider.AuthStyle]string{provider.AuthBasic: "client_secret_basic", provider.AuthPost: "client_secret_post"}
	if want := methods[d.AuthStyle]; want != "" && len(m.AuthMethods) > 0 && !slices.Contains(m.AuthMethods, want) {
		checks = append(checks, Check{"issuer", Warn, fmt.Sprintf("the metadata does not list %s, but %q", want, m.AuthMethods), "check auth_style"})
	}
	return checks
}

// discover looks where RFC 8414 section 3.1 and OpenID Connect Discovery section 4 put the metadata.
func (p *Prober) discover(ctx context.Context, issuer string) (m metadata, at string, err error) {
	var found []string
	for _, at := range wellKnown(issuer) {
		status, body, err := p.get(ctx, at)
		if err == nil && status == http.StatusOK {
			if err := json.Unmarshal(body, &m); err == nil && m.Issuer != "" {
				return m, at, nil
			}
			found = append(found, at+": no metadata")
			continue
		}
		if err != nil {
			found = append(found, err.Error())
			continue
		}
		found = append(found, fmt.Sprintf("%s: HTTP %d", at, status))
	}
	return metadata{}, "", fmt.Errorf("no metadata (%s)", strings.Join(found, "; "))
}

func wellKnown(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	path := strings.TrimSuffix(u.Path, "/")
	u.Path = path + "/.well-known/openid-configuration"
	openID := u.String()
	u.Path = "/.well-known/oauth-authorization-server" + path
	return []string{u.String(), openID}
}
