package refresh

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Userinfo asks d's userinfo_url, within the provider's timeout, whose access token this is (OpenID Connect Core section 5.3), and
// returns the answer, JSON as a rule. It is personal. The error is an *AskError when the provider answered otherwise.
func (a *Asker) Userinfo(ctx context.Context, d *provider.Definition, accessToken seal.Secret) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timing().Timeout)
	defer cancel()
	if err := (endpoint{"userinfo_url", d.UserinfoURL}).check(); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.UserinfoURL, nil)
	if err != nil {
		return nil, requestError("userinfo_url cannot be used")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Authorization", "Bearer "+accessToken.Reveal())
	begun := time.Now()
	said, err := roundTrip(a.routes.of(d), req)
	if err != nil {
		return nil, fmt.Errorf("userinfo: %w", noAnswer(err, time.Since(begun)))
	}
	if said.status != http.StatusOK {
		return nil, fmt.Errorf("userinfo: %w", newAskError(d, said, accessToken))
	}
	return said.body, nil
}
