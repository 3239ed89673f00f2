// Package refresher makes the token request the way a careful program makes it today: golang.org/x/oauth2 over a transport that
// keeps as many connections as there are requests at once, with the client's way to authenticate declared instead of found
// out. Every contestant but Freshet uses it, so that none loses for its HTTP client.
//
// Concurrency: a Refresher may be used by any number of goroutines.
package refresher

import (
	"context"
	"net"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/freshetdev/freshet/bench/authd"
)

// Refresher refreshes at one token endpoint.
type Refresher struct {
	config oauth2.Config
	ctx    context.Context // how x/oauth2 takes its HTTP client
}

// New returns a Refresher for that many requests at once.
func New(tokenURL string, atOnce int) *Refresher {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: dialer.DialContext, MaxIdleConns: atOnce, MaxIdleConnsPerHost: atOnce, DisableCompression: true,
		IdleConnTimeout: time.Minute,
	}}
	return &Refresher{
		config: oauth2.Config{
			ClientID: authd.ClientID, ClientSecret: authd.ClientSecret,
			Endpoint: oauth2.Endpoint{TokenURL: tokenURL, AuthStyle: oauth2.AuthStyleInHeader},
		},
		ctx: context.WithValue(context.Background(), oauth2.HTTPClient, client),
	}
}

// Refresh presents a refresh token once.
func (r *Refresher) Refresh(refreshToken string) (*oauth2.Token, error) {
	return r.config.TokenSource(r.ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
}
