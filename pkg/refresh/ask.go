package refresh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Asker talks to a provider about a token without using it: introspection (RFC 7662) and revocation (RFC 7009). It follows
// no redirect, reads no more than MaxReply, and its errors carry no token material.
//
// Concurrency: safe for any number of goroutines.
type Asker struct {
	client *http.Client
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
	return &Asker{client: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// CloseIdle closes the connections that carry no request.
func (a *Asker) CloseIdle() { a.client.CloseIdleConnections() }

// Active asks whether a refresh token is still good (RFC 7662 section 2.1). "Not active" may also mean that the provider
// does not answer for refresh tokens.
func (a *Asker) Active(ctx context.Context, d *provider.Definition, clientSecret, refreshToken seal.Secret) (bool, error) {
	status, body, err := a.post(ctx, d, clientSecret, d.IntrospectURL, refreshToken)
	if err != nil {
		return false, fmt.Errorf("introspect: %w", err)
	}
	var said struct {
		Active *bool `json:"active"`
	}
	if status != http.StatusOK || json.Unmarshal(body, &said) != nil || said.Active == nil {
		return false, fmt.Errorf("introspect: status %d without an answer to the question", status)
	}
	return *said.Active, nil
}

// Revoke withdraws a refresh token (RFC 7009 section 2.1). A provider that does not know it any more is content.
func (a *Asker) Revoke(ctx context.Context, d *provider.Definition, clientSecret, refreshToken seal.Secret) error {
	status, _, err := a.post(ctx, d, clientSecret, d.RevokeURL, refreshToken)
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if status != http.StatusOK && status != http.StatusNoContent {
		return fmt.Errorf("revoke: status %d", status)
	}
	return nil
}

var errNoAnswer = errors.New("no answer")

// post sends a form about a refresh token within the provider's timeout.
func (a *Asker) post(ctx context.Context, d *provider.Definition, clientSecret seal.Secret, endpoint string, token seal.Secret) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timing().Timeout)
	defer cancel()
	if err := checkTokenURL(endpoint); err != nil {
		return 0, nil, errors.New("the endpoint must be an https URL (plain http is for loopback only)")
	}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {"refresh_token"}}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}, "User-Agent": {"freshet"}}
	if err := authenticate(Request{Provider: d, ClientSecret: clientSecret}, form, header); err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, errors.New("the endpoint is not a URL")
	}
	req.Header = header
	begun := time.Now()
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %s", errNoAnswer, sentFault(err, time.Since(begun)))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxReply))
	if err != nil {
		return 0, nil, fmt.Errorf("%w: it was cut off", errNoAnswer)
	}
	return resp.StatusCode, body, nil
}
