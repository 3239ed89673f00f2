package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/freshetdev/freshet/internal/discovery"
	"github.com/freshetdev/freshet/pkg/provider"
)

// metadata compares the definition with what the issuer publishes, and returns it with what apply would fill in.
func (p *Prober) metadata(ctx context.Context, d *provider.Definition) (*provider.Definition, []Check) {
	if d.Issuer == "" {
		return d, nil
	}
	m, err := discovery.Find(ctx, p.ask, d)
	switch {
	case errors.Is(err, discovery.ErrMismatch):
		return d, []Check{{"issuer", Fail, err.Error(), "set issuer to what the metadata names, if it is whom you mean"}}
	case err != nil:
		return d, []Check{{"issuer", Warn, printable(strings.ReplaceAll(err.Error(), "\n", "; ")), "if the provider publishes no metadata, this is all right; otherwise check issuer"}}
	}
	checks := []Check{{"issuer", OK, "it publishes metadata", ""}}
	theirs := endpointsOf(&provider.Definition{
		AuthURL: m.AuthURL, TokenURL: m.TokenURL, DeviceURL: m.DeviceURL, RevokeURL: m.RevokeURL, IntrospectURL: m.IntrospectURL, UserinfoURL: m.UserinfoURL,
	})
	for i, ours := range endpointsOf(d) {
		if ours.url != "" && theirs[i].url != "" && ours.url != theirs[i].url {
			checks = append(checks, Check{"issuer", Warn, fmt.Sprintf("the metadata has %s %q", ours.name, theirs[i].url), "check " + ours.name})
		}
	}
	for _, doubt := range m.Doubts(d) {
		checks = append(checks, Check{"issuer", Warn, printable(doubt), "check auth_style and scopes"})
	}
	filled := m.Fill(*d)
	return &filled, checks
}
