package exchanger

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/freshetdev/freshet/pkg/refresh"
)

// ErrUnreachable means that no exchanger answers, or that it takes no attempt.
var ErrUnreachable = errors.New("exchanger is not available")

// ClientConfig describes a client. Socket and Keys (Bucket and Grant) are required.
type ClientConfig struct {
	Socket string
	Keys   refresh.Keys
	// MaxIdle bounds the idle connections kept; 0 means 1024.
	MaxIdle int
	// OnReach hears when the exchanger is not available any more (once, with the reason) and when it is again (nil). It
	// is called by Run. nil: nobody listens.
	OnReach func(error)
}

func (c ClientConfig) withDefaults() ClientConfig {
	c.MaxIdle = cmp.Or(c.MaxIdle, 1024)
	if c.OnReach == nil {
		c.OnReach = func(error) {}
	}
	return c
}

// Client has requests made by an exchanger. Use NewClient.
type Client struct {
	cfg   ClientConfig
	clock clock
	http  *http.Client
	kick  chan struct{} // there are ids in acks

	mu    sync.Mutex
	store string        // the exchanger's; empty until it was asked
	down  error         // why no attempt may start; nil: it may
	met   bool          // OnReach has been told something
	back  chan struct{} // closed when down becomes nil, and replaced
	acks  []string      // outcomes in the worker's journal that the exchanger does not know of
}

var _ refresh.Exchanger = (*Client)(nil)

// NewClient returns a client that has not called yet: it is not Ready until Run has reached the exchanger.
func NewClient(cfg ClientConfig) *Client {
	cfg = cfg.withDefaults()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", cfg.Socket)
		if err != nil {
			return nil, dialFault(err)
		}
		return c, nil
	}
	return &Client{
		cfg: cfg, clock: newClock(), kick: make(chan struct{}, 1), back: make(chan struct{}),
		down: fmt.Errorf("%w: not reached yet", ErrUnreachable),
		http: &http.Client{Transport: &http.Transport{
			DialContext: dial, MaxIdleConnsPerHost: cfg.MaxIdle, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		}},
	}
}

// unsentError marks an error that comes before any byte of a request.
type unsentError struct{ err error }

// Error implements error.
func (e *unsentError) Error() string { return e.err.Error() }

// Unwrap lets errors.As find the cause.
func (e *unsentError) Unwrap() error { return e.err }

func dialFault(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno // without the path, which OnReach's listener knows
	}
	return &unsentError{fmt.Errorf("cannot connect to the exchanger: %w", err)}
}

// Ready is nil while the exchanger is there and takes attempts: no claim should be made when it is not. It does no I/O.
// The error wraps ErrUnreachable.
func (c *Client) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down
}

// AwaitReady is Ready after at most d: a restart of the exchanger takes less than a second, and is no reason to send work
// away.
func (c *Client) AwaitReady(d time.Duration) error {
	limit := time.NewTimer(d)
	defer limit.Stop()
	for {
		c.mu.Lock()
		down, back := c.down, c.back
		c.mu.Unlock()
		if down == nil {
			return nil
		}
		select {
		case <-limit.C:
			return down
		case <-back:
		}
	}
}

// Close tells the exchanger what is still to be told, within a second, and ends the connections. Call it after Run and
// the last Exchange.
func (c *Client) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.sendAcks(ctx) // else they are offered again, and found to be committed
	c.http.CloseIdleConnections()
}

// roundTrip makes one call. The answer's body is decoded into answer, which may be nil, or into the *refusal that is returned.
func (c *Client) roundTrip(ctx context.Context, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://exchanger"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call the exchanger: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return scrub(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return scrub(err)
	}
	return decode(resp.StatusCode, data, answer)
}

func decode(code int, data []byte, answer any) error {
	switch {
	case code == http.StatusNoContent:
		return nil
	case code != http.StatusOK:
		r := new(refusal)
		if json.Unmarshal(data, r) != nil || r.Word == "" {
			return fmt.Errorf("the exchanger answers HTTP %d: is it another program?", code)
		}
		return r
	case json.Unmarshal(data, answer) != nil:
		return errors.New("the exchanger's answer cannot be read")
	}
	return nil
}

// scrub says what went wrong in words of our own: net/http may quote an answer.
func scrub(err error) error {
	var unsent *unsentError
	switch {
	case errors.As(err, &unsent):
		return unsent
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the exchanger does not answer")
	}
	return errors.New("the connection to the exchanger broke")
}

// greet asks the exchanger who it is, once per connection that was lost.
func (c *Client) greet(ctx context.Context) (store string, err error) {
	c.mu.Lock()
	store = c.store
	c.mu.Unlock()
	if store != "" {
		return store, nil
	}
	var st status
	if err := c.roundTrip(ctx, http.MethodGet, "/v1/status", nil, &st); err != nil {
		return "", err
	}
	if err := checkProof(c.cfg.Keys, st.Proof); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store = st.Store
	return st.Store, nil
}

func (c *Client) setStore(store string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store = store
}
