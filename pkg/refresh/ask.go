package refresh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Asker talks to a provider about a token without using it: introspection (RFC 7662) and revocation (RFC 7009). It follows
// no redirect, reads no more than MaxReply, and its errors carry no token material.
//
// Concurrency: safe for any number of goroutines.
type Asker struct {
	transport *http.Transport
}

// NewAsker returns an Asker. dial replaces the network below it; nil is TCP.
func NewAsker(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Asker {
	t := &http.Transport{
		DialContext: dial, Proxy: proxyFromEnvironment, TLSHandshakeTimeout: handshakeTimeout,
		DisableCompression: true, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: maxReplyHeader,
	}
	if dial != nil {
		t.Proxy = nil
	}
	return &Asker{transport: t}
}

// CloseIdle closes the connections that carry no request.
func (a *Asker) CloseIdle() { a.transport.CloseIdleConnections() }

// Active asks whether a refresh token is still good (RFC 7662 section 2.1). "Not active" may also mean that the provider
// does not answer for refresh tokens.
func (a *Asker) Active(ctx context.Context, d *provider.Definition, clientSecret, refreshToken seal.Secret) (bool, error) {
	said, err := a.post(ctx, d, clientSecret, endpoint{"introspect_url", d.IntrospectURL}, refreshToken)
	if err != nil {
		return false, fmt.Errorf("introspect: %w", err)
	}
	var body struct {
		Active *bool `json:"active"`
	}
	if said.status != http.StatusOK || json.Unmarshal(said.body, &body) != nil || body.Active == nil {
		return false, fmt.Errorf("introspect: status %d without an answer to the question", said.status)
	}
	return *body.Active, nil
}

// Revoke withdraws a refresh token (RFC 7009 section 2.1). A provider that does not know it any more is content.
func (a *Asker) Revoke(ctx context.Context, d *provider.Definition, clientSecret, refreshToken seal.Secret) error {
	said, err := a.post(ctx, d, clientSecret, endpoint{"revoke_url", d.RevokeURL}, refreshToken)
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if said.status != http.StatusOK && said.status != http.StatusNoContent {
		return fmt.Errorf("revoke: status %d", said.status)
	}
	return nil
}

var errNoAnswer = errors.New("no answer")

// post sends a form about a refresh token within the provider's timeout.
func (a *Asker) post(ctx context.Context, d *provider.Definition, clientSecret seal.Secret, at endpoint, token seal.Secret) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timing().Timeout)
	defer cancel()
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"refresh_token"}}
	req, err := newPost(at, d, clientSecret, form, time.Now())
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", userAgent)
	begun := time.Now()
	said, err := a.roundTrip(req.WithContext(ctx))
	if err != nil {
		return answer{}, fmt.Errorf("%w: %s", errNoAnswer, sentFault(err, time.Since(begun)))
	}
	return said, nil
}

// roundTrip uses the transport itself, not a client: it follows no redirect, and its errors do not quote the URL.
func (a *Asker) roundTrip(req *http.Request) (answer, error) {
	resp, err := a.transport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	said, _, err := readAnswer(resp)
	return said, err
}
