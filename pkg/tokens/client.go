package tokens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/freshetdev/freshet/pkg/events"
	"github.com/freshetdev/freshet/pkg/refresh"
	"github.com/freshetdev/freshet/pkg/seal"
)

// Config says what a Client reads, and how. AccessKeyset is required.
type Config struct {
	// AccessKeyset opens access tokens.
	AccessKeyset *seal.Keyset
	// Namespace of the Freshet that is read; empty: the default.
	Namespace string
	// Domain is the JetStream domain of the bucket; empty: the account's own.
	Domain string
	// APIPrefix is where an account that imports another's JetStream API finds it, such as "JS.tokens.API". It
	// takes the place of Domain. Empty: $JS.API.
	APIPrefix string
	// Scope narrows what is listened to: PROVIDER, or PROVIDER/PATH for the accounts PATH and PATH/…. A user that may
	// not hear of everybody needs it; a source outside it hears nothing and falls back on looking by itself.
	// Empty: all credentials.
	Scope string
	// Wait is how long a source without a token to hand out waits for one before it fails, and a refused request of
	// Transport for a newer one; default 5 s.
	Wait time.Duration
	// CacheFile, where set, keeps the tokens that are kept fresh for the next start of this program, sealed with the access
	// keyset: see "Without NATS" in the package doc. No two programs may share one. Its directory must exist.
	CacheFile string
	// OnError hears of what goes wrong behind the program's back. It must not block. nil: nobody does.
	OnError func(error)
}

// defaultWait covers the refresh of a token that was not renewed ahead of its end, at a provider of ordinary speed.
const defaultWait = 5 * time.Second

func (c Config) withDefaults() Config {
	c.Wait = cmp.Or(c.Wait, defaultWait)
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.AccessKeyset == nil {
		faults = append(faults, errors.New("the access keyset is missing: load it with seal.LoadKeyset"))
	}
	if c.Domain != "" && c.APIPrefix != "" {
		faults = append(faults, errors.New("both a domain and an API prefix are given: the prefix says it all, drop the domain"))
	}
	if c.Wait < 0 {
		faults = append(faults, fmt.Errorf("wait is %s: want more than 0, or 0 for %s", c.Wait, defaultWait))
	}
	return errors.Join(faults...)
}

// Client reads tokens. Make it once per connection and keep it.
type Client struct {
	cfg    Config
	nc     *nats.Conn
	names  events.Names
	keys   refresh.Keys
	direct *direct
	news   *listener
	now    atomic.Int64 // wall clock in Unix nanoseconds, at most a tick old

	cache  *cache          // nil: none
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.RWMutex // owns all below, and the start of goroutines; taken after a source's mu, never before it
	closed bool
	srcs   map[string]*source // by key
	byID   map[string]*source // the same
	work   sync.WaitGroup

	tokens table
}

// openWithin bounds Open when ctx has no deadline.
const openWithin = 5 * time.Second

// Open returns a Client that reads over nc, which stays the caller's. It must be connected; with a CacheFile it may also
// be one that is still trying (nats.RetryOnFailedConnect), so that a program starts while NATS is away. Its error handler is
// replaced, once for all clients and for good, by one that hears of permission errors first and then calls the handler
// that was there; one that is set later hides them, and a denial then shows as ErrUnavailable. ctx bounds the opening
// only.
//
// Errors: ErrPermission when a subscription is denied; ErrUnavailable when the server does not answer.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("open tokens: %w", err)
	}
	cfg = cfg.withDefaults()
	names, err := events.NewNames(cfg.Namespace)
	if err != nil {
		return nil, fmt.Errorf("open tokens: %w", err)
	}
	c := &Client{
		cfg: cfg, nc: nc, names: names, srcs: make(map[string]*source), byID: make(map[string]*source),
		keys:   refresh.Keys{Bucket: names.TokensBucket(), Access: cfg.AccessKeyset},
		direct: newDirect(nc, apiPrefix(cfg)),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.tokens.start()
	c.tick()
	if cfg.CacheFile != "" {
		c.cache = loadCache(cfg, names.TokensBucket(), time.Now())
	}
	if c.news, err = listen(ctx, c); err != nil {
		c.cancel()
		return nil, fmt.Errorf("open tokens: %w", err)
	}
	c.spawn(c.keepClock)
	c.spawn(c.sweep)
	c.spawn(func() { c.direct.dispatch(c.ctx) })
	c.spawn(func() { c.news.run(c.ctx) })
	if c.cache != nil {
		c.spawn(c.keepCache)
	}
	return c, nil
}

func apiPrefix(cfg Config) string {
	switch {
	case cfg.APIPrefix != "":
		return strings.TrimSuffix(cfg.APIPrefix, ".") + "."
	case cfg.Domain != "":
		return "$JS." + cfg.Domain + ".API."
	default:
		return "$JS.API."
	}
}

// Close stops everything that keeps tokens fresh and returns when it has stopped. The connection stays open. From then
// on every source fails with ErrClosed. It always returns nil.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.news.stop()
	c.work.Wait()
	if c.cache != nil {
		c.saveCache()
	}
	for _, s := range c.sources() {
		s.drop()
	}
	return nil
}

// spawn runs f on a goroutine that Close waits for; false: the client is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(f)
	return true
}

// clockTick is how old the in-memory clock may be. Asking the system takes longer than the rest of a warm Token.
const clockTick = 100 * time.Millisecond

func (c *Client) keepClock() {
	tick := time.NewTicker(clockTick)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			c.tick()
		}
	}
}

func (c *Client) tick() { c.now.Store(time.Now().UnixNano()) }

// sources returns the sources there are.
func (c *Client) sources() []*source {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make([]*source, 0, len(c.srcs))
	for _, s := range c.srcs {
		all = append(all, s)
	}
	return all
}

// sourceOf returns the source of a key, or nil.
func (c *Client) sourceOf(key string) *source {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.srcs[key]
}

// source returns the source of an id, a new one if need be. Error: events.ErrName.
func (c *Client) source(id string) (*source, error) {
	c.mu.RLock()
	s := c.byID[id]
	c.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	cred, err := events.ParseCredential(id)
	if err != nil {
		return nil, err
	}
	s = &source{client: c, cred: cred, changed: make(chan struct{}), poked: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept := c.byID[id]; kept != nil {
		return kept, nil
	}
	if c.cache != nil {
		s.remember(c.cache.take(cred))
	}
	c.put(s)
	return s, nil
}

// put enters a source. The caller holds mu.
func (c *Client) put(s *source) { c.srcs[s.cred.Key()], c.byID[s.cred.String()] = s, s }

// remove lets go of a source. The caller holds mu.
func (c *Client) remove(s *source) {
	delete(c.srcs, s.cred.Key())
	delete(c.byID, s.cred.String())
}
