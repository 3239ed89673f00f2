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
	"time"

	"github.com/freshetdev/freshet/pkg/provider"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Asker talks to a provider beside token requests: introspection (RFC 7662), revocation (RFC 7009), and documents that it
// publishes. It follows no redirect, goes where token requests may go and nowhere else, reads no more than MaxReply, and its
// errors carry no token material.
//
// Concurrency: safe for any number of goroutines.
type Asker struct {
	// Now is NATS time, by which client assertions are dated; set it before use. nil: the local clock.
	Now    func() time.Time
	routes routes
}

// NewAsker returns an Asker. dial replaces the network below it, as HTTPExchangeConfig.Dial does.
func NewAsker(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Asker {
	return &Asker{routes: newRoutes(dial, func(dial dialFunc) *http.Transport {
		return &http.Transport{
			DialContext: dial, TLSHandshakeTimeout: handshakeTimeout,
			DisableCompression: true, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: maxReplyHeader,
		}
	})}
}

// CloseIdle closes the connections that carry no request.
func (a *Asker) CloseIdle() { a.routes.closeIdle() }

func (a *Asker) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// Fetch gets a document that d's provider publishes, within the provider's timeout. It is no error that the answer is not 200.
func (a *Asker) Fetch(ctx context.Context, d *provider.Definition, address string) (status int, body []byte, err error) {
	err = a.get(ctx, d, address, func(resp *http.Response) error {
		status = resp.StatusCode
		body, err = io.ReadAll(io.LimitReader(resp.Body, MaxReply+1))
		if err == nil && len(body) > MaxReply {
			return errTooLarge
		}
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	return status, body, nil
}

// Reach asks for a page of d's provider, within the provider's timeout, and reads no more of the answer than its status: any shows that
// something is there.
func (a *Asker) Reach(ctx context.Context, d *provider.Definition, address string) (status int, err error) {
	err = a.get(ctx, d, address, func(resp *http.Response) error {
		status = resp.StatusCode
		return nil
	})
	return status, err
}

// get makes a request without a body and hands over the answer.
func (a *Asker) get(ctx context.Context, d *provider.Definition, address string, read func(*http.Response) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.Timing().Timeout)
	defer cancel()
	if err := (endpoint{"address", address}).check(); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return requestError("address cannot be used")
	}
	req.Header.Set("Accept", "application/json, */*;q=0.1")
	req.Header.Set("User-Agent", userAgent)
	begun := time.Now()
	resp, err := a.routes.of(d).RoundTrip(req)
	if err != nil {
		return noAnswer(err, time.Since(begun))
	}
	defer resp.Body.Close()
	switch err := read(resp); {
	case errors.Is(err, errTooLarge):
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	case err != nil:
		return noAnswer(err, time.Since(begun))
	}
	return nil
}

// Active asks whether a refresh token is still good (RFC 7662 section 2.1). "Not active" may also mean that the provider
// does not answer for refresh tokens.
func (a *Asker) Active(ctx context.Context, d *provider.Definition, clientSecret, refreshToken seal.Secret) (bool, error) {
	said, err := a.post(ctx, d, clientSecret, endpoint{"introspect_url", d.IntrospectURL}, aboutRefreshToken(refreshToken))
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

// Revoke withdraws a refresh token (RFC 7009 section 2.1). A provider that does not know it any more is content. The error is an
// *AskError when the provider answered otherwise.
func (a *Asker) Revoke(ctx context.Context, d *provider.Definition, clientSecret, refreshToken seal.Secret) error {
	return a.revoke(ctx, d, clientSecret, aboutRefreshToken(refreshToken))
}

// RevokeAccess is Revoke for an access token.
func (a *Asker) RevokeAccess(ctx context.Context, d *provider.Definition, clientSecret, accessToken seal.Secret) error {
	return a.revoke(ctx, d, clientSecret, question{accessToken, "access_token"})
}

func (a *Asker) revoke(ctx context.Context, d *provider.Definition, clientSecret seal.Secret, q question) error {
	said, err := a.post(ctx, d, clientSecret, endpoint{"revoke_url", d.RevokeURL}, q)
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if said.status == http.StatusOK || said.status == http.StatusNoContent {
		return nil
	}
	refused := newAskError(d, said, clientSecret, q.token)
	if said.status == http.StatusBadRequest && (refused.Code == "invalid_token" || refused.Code == "invalid_grant") {
		return nil // it is dead already; by the RFC that is a 200, which some providers do not know
	}
	return fmt.Errorf("revoke: %w", refused)
}

// AskError is a provider's refusal to answer what an Asker asked.
type AskError struct {
	Class      Class
	Status     int
	Code       string        // the provider's error code, if it gave one
	RetryAfter time.Duration // 0: it did not say
}

// Error implements error.
func (e *AskError) Error() string {
	text := statusText(e.Status)
	if e.Code != "" {
		text += ", " + e.Code
	}
	return text
}

// Passes reports whether the same question may get another answer later.
func (e *AskError) Passes() bool {
	return e.Class == ClassTransient || e.Class == ClassThrottled || e.Status >= http.StatusInternalServerError
}

func newAskError(d *provider.Definition, said answer, sent ...seal.Secret) *AskError {
	o := Outcome{
		Phase: PhaseAnswered, Status: said.status, Body: said.body, ContentType: said.header.Get("Content-Type"),
		RetryAfter: said.header.Get("Retry-After"), Date: said.header.Get("Date"), EndedAt: time.Now(),
	}
	j := Classify(d, o).Without(sent...)
	return &AskError{Class: j.Class, Status: said.status, Code: j.Code, RetryAfter: j.RetryAfter}
}

var errNoAnswer = errors.New("no answer")

// question is what is asked about: a token, and its kind (token_type_hint, RFC 7009 section 2.1 and RFC 7662 section 2.1).
type question struct {
	token seal.Secret
	kind  string
}

func aboutRefreshToken(token seal.Secret) question { return question{token, "refresh_token"} }

// post sends a form about a token within the provider's timeout.
func (a *Asker) post(ctx context.Context, d *provider.Definition, clientSecret seal.Secret, at endpoint, q question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timing().Timeout)
	defer cancel()
	form := url.Values{"token": {q.token.Reveal()}, "token_type_hint": {q.kind}}
	req, err := newPost(at, d, clientSecret, form, a.now())
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", userAgent)
	begun := time.Now()
	said, err := roundTrip(a.routes.of(d), req.WithContext(ctx))
	if err != nil {
		return answer{}, noAnswer(err, time.Since(begun))
	}
	return said, nil
}

// roundTrip uses the transport itself, not a client: it follows no redirect, and its errors do not quote the URL.
func roundTrip(t *http.Transport, req *http.Request) (answer, error) {
	resp, err := t.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	said, _, err := readAnswer(resp)
	return said, err
}

// noAnswer says in words of our own why there is none.
func noAnswer(err error, after time.Duration) error {
	var address *addressError
	var dial *net.OpError
	if errors.As(err, &address) {
		return fmt.Errorf("%w: %w", errNoAnswer, address)
	}
	text, _, certificate := certificateFault(err)
	switch {
	case certificate:
	case errors.As(err, &dial) && dial.Op == "dial" && !isTimeout(err):
		text, _ = networkFault(err)
	default:
		text = sentFault(err, after)
	}
	return fmt.Errorf("%w: %s", errNoAnswer, text)
}
