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
// one, else by the answer that brought the tokens. An ID token that has a subject and no name is completed by userinfo, which must
// be about the same subject (OpenID Connect Core section 5.3.2); where it refuses, the subject is enough. Error: ErrNoUserinfo.
func Identify(ctx context.Context, ask *refresh.Asker, d *provider.Definition, g NewGrant) (Identity, error) {
	named := g.Identity.Username != "" || g.Identity.Email != ""
	if d.UserinfoURL == "" || g.vouched && named {
		return g.Identity, nil
	}
	told, err := userinfo(ctx, ask, d, g.AccessToken)
	var refused *refresh.AskError
	switch {
	case !g.vouched || g.Identity.Subject == "":
		return told.identity(), err
	case errors.As(err, &refused) && !refused.Passes():
		return g.Identity, nil
	case err != nil:
		return Identity{}, err // by another name tomorrow it would be another account
	case told.identity().Subject != g.Identity.Subject:
		return Identity{}, fmt.Errorf("%w: the answer is about another subject than the ID token", ErrNoUserinfo)
	}
	return told.identity(), nil
}

// userinfo are the claims of whoever gave an access token.
func userinfo(ctx context.Context, ask *refresh.Asker, d *provider.Definition, access seal.Secret) (c claims, err error) {
	body, err := ask.Userinfo(ctx, d, access)
	if err != nil {
		return claims{}, fmt.Errorf("%w: %w", ErrNoUserinfo, err)
	}
	if json.Unmarshal(body, &c) != nil || !c.identity().Known() {
		return claims{}, fmt.Errorf("%w: the answer names nobody", ErrNoUserinfo)
	}
	return c, nil
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
