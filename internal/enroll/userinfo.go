package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// ErrNoUserinfo: the provider has a userinfo_url, and did not say there who agreed.
var ErrNoUserinfo = errors.New("the provider does not say at its userinfo_url who agreed")

// Identify returns who gave a grant: by its ID token, else in the words of the provider's userinfo_url, which is asked where there is
// one, else by the answer that brought the tokens. Where the ID token has the subject alone, the provider is asked for the
// names as well (OpenID Connect Core section 5.4); that it refuses is then no error. Error: ErrNoUserinfo.
func Identify(ctx context.Context, ask *refresh.Asker, d *provider.Definition, g NewGrant) (Identity, error) {
	if d.UserinfoURL == "" || g.vouched && !g.Identity.subjectOnly() {
		return g.Identity, nil
	}
	who, err := askWho(ctx, ask, d, g.AccessToken)
	var refused *refresh.AskError
	switch {
	case !g.vouched:
		return who, err
	case errors.As(err, &refused) && !refused.Passes():
		return g.Identity, nil
	case err != nil:
		return Identity{}, err // by another name tomorrow it would be another account
	case who.Subject != g.Identity.Subject:
		return g.Identity, nil // OpenID Connect Core section 5.3.2
	}
	return who, nil
}

// askWho asks the provider's userinfo_url whose access token it is.
func askWho(ctx context.Context, ask *refresh.Asker, d *provider.Definition, access seal.Secret) (Identity, error) {
	body, err := ask.Userinfo(ctx, d, access)
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
