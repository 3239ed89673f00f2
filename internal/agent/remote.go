package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/seal"
	"github.com/freshetdev/freshet/pkg/tokens"
)

// ErrNoAgent: no agent listens where one was looked for.
var ErrNoAgent = errors.New("no agent is running")

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// Remote asks a running agent on a Unix socket.
type Remote struct {
	path   string
	client *http.Client
}

var _ Source = (*Remote)(nil)

// NewRemote returns a Remote for unix://PATH. It connects when it is asked. Errors: what is no such address.
func NewRemote(address string) (*Remote, error) {
	network, path, err := parseAddress(address)
	if err == nil && network != "unix" {
		err = errors.New("want unix://PATH")
	}
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", address, err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Remote{path: path, client: &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout:   askWithin + endWithin,
	}}, nil
}

// Token implements Source. Error beside: ErrNoAgent.
func (r *Remote) Token(ctx context.Context, id string, least time.Duration) (tokens.Token, error) {
	path := pathOf(id)
	if least > 0 {
		path += "?" + url.Values{minTTLParam: {least.String()}}.Encode()
	}
	return r.ask(ctx, http.MethodGet, path, id, nil)
}

// Refused implements Source. Error beside: ErrNoAgent.
func (r *Remote) Refused(ctx context.Context, id, access string) (tokens.Token, error) {
	return r.ask(ctx, http.MethodPost, pathOf(id), id, url.Values{refusedParam: {access}})
}

func (r *Remote) ask(ctx context.Context, method, path, id string, form url.Values) (tokens.Token, error) {
	cred, err := events.ParseCredential(id)
	if err != nil {
		return tokens.Token{}, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, strings.NewReader(form.Encode()))
	if err != nil {
		return tokens.Token{}, err
	}
	req.Header.Set(requiredHeader, requiredValue)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	began := time.Now()
	resp, err := r.client.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return tokens.Token{}, fmt.Errorf("%w at %s", ErrNoAgent, r.path)
	case err != nil:
		return tokens.Token{}, fmt.Errorf("ask the agent: %w", err)
	}
	defer resp.Body.Close()
	return understand(resp, cred, began)
}

// understand reads an answer.
func understand(resp *http.Response, cred events.Credential, began time.Time) (tokens.Token, error) {
	body := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		var refused refusal
		_ = body.Decode(&refused) // without words there is the status
		return tokens.Token{}, fmt.Errorf("agent: %w: %d %s %s", errorOf(resp.StatusCode, refused), resp.StatusCode, refused.Error, refused.Description)
	}
	var g grant
	if body.Decode(&g) != nil || g.AccessToken == "" {
		return tokens.Token{}, errors.New("the agent's answer is no token")
	}
	t := tokens.Token{Credential: cred, AccessToken: seal.NewSecret(g.AccessToken), TokenType: g.TokenType, Scopes: strings.Fields(g.Scope)}
	if g.ExpiresIn != nil {
		t.ExpiresAt = began.Add(time.Duration(*g.ExpiresIn) * time.Second)
	}
	return t, nil
}
