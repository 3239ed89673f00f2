package tokens

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Transport returns a RoundTripper that puts the bearer token of a credential, PROVIDER/ACCOUNT, on each request, and sends it
// through base; nil: http.DefaultTransport. It waits for a token as Client.Token does.
//
// When the answer is 401 (RFC 6750 section 3.1), a newer token than the one that was used is asked for, once over all
// processes, and the request is repeated with it, once. Nothing is asked where a newer token is there already. A request is
// repeated when it has no body or knows how to make it again (Request.GetBody, which http.NewRequest sets for the usual
// kinds); one that cannot be repeated only asks. Where no newer token comes within Config.Wait the answer is returned as
// it was, and Config.OnError hears why. That is also so for half a minute after the last demand for the credential, so that
// a server which refuses whatever it is given costs no refresh each time; and after the answers that no new token would
// change: 403, and 401 with insufficient_scope, invalid_request or insufficient_user_authentication (RFC 9470).
//
// To repeat takes a permission beside the usual ones: see the package doc. Without it OnError hears ErrPermission and the
// answer is returned as it was.
//
// A redirect to another host, or away from TLS, is followed without the token. Base is used by any number of goroutines.
func (c *Client) Transport(id string, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{client: c, id: id, base: base}
}

type transport struct {
	client *Client
	id     string
	base   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if strayed(req) {
		return t.base.RoundTrip(req)
	}
	used, err := t.client.get(req.Context(), t.id)
	if err != nil {
		closeBody(req)
		return nil, fmt.Errorf("token for the request: %w", err)
	}
	resp, err := t.base.RoundTrip(bearing(req, used))
	if err != nil || !curable(resp) {
		return resp, err
	}
	again := repeatable(req)
	newer := t.renew(req.Context(), used, again)
	if newer == nil || again == nil {
		return resp, nil
	}
	if req, err = again(); err != nil {
		return resp, nil //nolint:nilerr // the answer there is says more
	}
	discard(resp)
	return t.base.RoundTrip(bearing(req, newer))
}

// renew returns a newer token; nil: none came. Where the request cannot be repeated it only asks.
func (t *transport) renew(ctx context.Context, used *held, again repeat) *held {
	s, err := t.client.source(t.id)
	if err != nil {
		return nil // it has given a token before, so it is well-formed
	}
	s = t.client.adopt(s)
	w := wish{past: used.full, refused: true, report: true, until: time.Now().Add(t.client.cfg.Wait)}
	if again == nil {
		_, _, _ = s.join(w) // who asks hears of it
		return nil
	}
	newer, err := s.renew(ctx, w)
	if err != nil {
		return nil // OnError has heard why, of the demand that told it first, unless the request itself has ended
	}
	return newer
}

// CloseIdleConnections makes http.Client.CloseIdleConnections reach base.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// strayed reports whether a request is what a redirect made of one to another host, or of one under TLS.
func strayed(req *http.Request) bool {
	for r := req; r.Response != nil && r.Response.Request != nil; {
		r = r.Response.Request
		if !strings.EqualFold(r.URL.Host, req.URL.Host) || r.URL.Scheme == "https" && req.URL.Scheme != "https" {
			return true
		}
	}
	return false
}

// bearing returns the request with the token on it. A RoundTripper must not change the request it was given.
func bearing(req *http.Request, h *held) *http.Request {
	req = req.Clone(req.Context())
	h.token.SetAuthHeader(req)
	return req
}

// repeat makes a request that was sent already ready to be sent again.
type repeat func() (*http.Request, error)

// repeatable returns how to send a request again; nil: its body is gone.
func repeatable(req *http.Request) repeat {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return func() (*http.Request, error) { return req, nil }
	case req.GetBody == nil:
		return nil
	}
	return func() (*http.Request, error) {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = body
		return req, nil
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // a RoundTripper must close it; nobody is left to tell
	}
}

// discard lets the connection of an answer that nobody reads be used again.
func discard(resp *http.Response) {
	const short = 64 << 10 // beyond that a new connection is cheaper
	_, _ = io.CopyN(io.Discard, resp.Body, short)
	_ = resp.Body.Close()
}

// curable reports whether a newer token may change an answer.
func curable(resp *http.Response) bool {
	if resp.StatusCode != http.StatusUnauthorized {
		return false
	}
	for _, challenge := range resp.Header.Values("WWW-Authenticate") {
		switch challengeError(challenge) {
		case "insufficient_scope", "invalid_request", "insufficient_user_authentication":
			return false
		}
	}
	return true
}

// challengeError returns the parameter "error" of a WWW-Authenticate header (RFC 9110 section 11.6.1, RFC 6750 section 3);
// empty: it has none.
func challengeError(challenge string) string {
	for rest := challenge; rest != ""; {
		var name, value string
		name, value, rest = nextParam(rest)
		if strings.EqualFold(name, "error") {
			return value
		}
	}
	return ""
}

// nextParam cuts the first NAME=VALUE from a challenge. A scheme before the name is dropped.
func nextParam(s string) (name, value, rest string) {
	name, rest, ok := strings.Cut(s, "=")
	if !ok {
		return "", "", ""
	}
	if i := strings.LastIndexAny(strings.TrimRight(name, " \t"), " \t,"); i >= 0 {
		name = name[i+1:]
	}
	name, rest = strings.TrimSpace(name), strings.TrimLeft(rest, " \t")
	if !strings.HasPrefix(rest, `"`) {
		value, rest, _ = strings.Cut(rest, ",")
		return name, strings.TrimSpace(value), rest
	}
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			return name, rest[1:i], rest[i+1:]
		}
	}
	return name, rest[1:], ""
}
