package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
)

// ErrNoUserinfo: the provider has a userinfo_url, and did not say there who agreed.
var ErrNoUserinfo = errors.New("the provider does not say at its userinfo_url who agreed")

// Identify returns who gave a grant: by its ID token, else in the words of the provider's userinfo_url, which is asked where there is
// one, else by the answer that brought the tokens. Error: ErrNoUserinfo.
func Identify(ctx context.Context, ask *refresh.Asker, d *provider.Definition, g NewGrant) (Identity, error) {
	if g.vouched || d.UserinfoURL == "" {
		return g.Identity, nil
	}
	body, err := ask.Userinfo(ctx, d, g.AccessToken)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrNoUserinfo, err)
	}
	var c claims
	if json.Unmarshal(body, &c) != nil || !c.identity().Known() {
		return Identity{}, fmt.Errorf("%w: the answer names nobody", ErrNoUserinfo)
	}
	return c.identity(), nil
}

// named is the grant with its account: that of the credential, else what the provider calls the one who agreed.
func named(ctx context.Context, d *provider.Definition, c events.Credential, g NewGrant) (NewGrant, error) {
	if g.Account = c.Account; g.Account != "" {
		return g, nil
	}
	ask := refresh.NewAsker(nil)
	defer ask.CloseIdle()
	who, err := Identify(ctx, ask, d, g)
	if err != nil {
		return g, err
	}
	g.Identity = who
	return g.Derived(c.Provider, who.Account())
}
