package probe

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// client tries each of the client's secrets with a refresh token that nobody has issued.
func (p *Prober) client(ctx context.Context, d *provider.Definition) []Check {
	if len(d.ClientSecrets) == 0 {
		return []Check{p.try(ctx, d, "client", seal.Secret{})}
	}
	var checks []Check
	for i, secret := range d.ClientSecrets {
		name := "client secret"
		if len(d.ClientSecrets) > 1 {
			name = fmt.Sprintf("client secret %d", i+1)
		}
		checks = append(checks, p.try(ctx, d, name, secret))
	}
	return checks
}

func (p *Prober) try(ctx context.Context, d *provider.Definition, name string, secret seal.Secret) Check {
	invented := seal.NewSecret("freshet-probe-" + rand.Text())
	out := p.exchange.Exchange(ctx, refresh.Request{
		Provider: d, ClientSecret: secret, RefreshToken: invented, Deadline: time.Now().Add(d.Timing().Timeout),
	})
	j := refresh.Classify(d, out).Without(invented, secret)
	c := judge(d, out.Phase, j)
	c.Name = name
	return c
}

// judge says what the answer to an invented refresh token means for the client.
func judge(d *provider.Definition, phase refresh.Phase, j refresh.Judgement) Check {
	said := j.Detail // names the code
	switch {
	case phase != refresh.PhaseAnswered:
		return Check{Result: Fail, Found: "no answer to a token request: " + said, Advice: "check token_url and the way there"}
	case j.Class == refresh.ClassRejected:
		return Check{Result: OK, Found: "an invented refresh token was refused, not the client: " + said}
	case j.Class == refresh.ClassMisconfigured:
		return Check{Result: Fail, Found: "the client was refused: " + said, Advice: "check client_id, client_secret and auth_style (" + string(d.AuthStyle) + ")"}
	case j.Class == refresh.ClassThrottled, j.Class == refresh.ClassTransient:
		return Check{Result: Warn, Found: "the provider asks to come again: " + said, Advice: "try again later"}
	case j.Class == refresh.ClassOK && d.Grant == provider.GrantAuthorizationCode:
		return Check{Result: Warn, Found: "an invented refresh token brought a token", Advice: "check that token_url is the provider's"}
	case j.Class == refresh.ClassOK:
		return Check{Result: OK, Found: "the client has a token: " + said}
	case j.Code != "":
		return Check{Result: Warn, Found: "an invented refresh token was refused in a word that the definition does not know: " + said,
			Advice: "if the provider means a dead grant by it, add it to words.rejected; if the client, to words.misconfigured"}
	}
	return Check{Result: Warn, Found: "the answer to a token request cannot be read: " + said, Advice: "check token_url, token_format and reply"}
}
